package watch

import (
	"bytes"
	"errors"
	"math"
	"strings"

	"github.com/tidwall/gjson"
)

// history is what was read of a log.jsonl.
type history struct {
	series map[string]*Series
	offset int64 // bytes read, up to the end of the last whole line
	step   int   // of the newest row
	rows   int   // read
	bad    int   // lines that are not rows, or rows of an earlier step
}

func newHistory() *history { return &history{series: map[string]*Series{}} }

// errRewritten says that the log holds an earlier step again: a resumed run dropped rows.
var errRewritten = errors.New("the log was rewritten")

// read adds the whole lines of text, which begins at h.offset, and ignores an incomplete last line.
// A row of an earlier step is an errRewritten, unless the log is already being read again.
func (h *history) read(text []byte, again bool) error {
	for {
		line, rest, whole := bytes.Cut(text, []byte("\n"))
		if !whole {
			return nil
		}
		if err := h.addLine(line); errors.Is(err, errRewritten) && again {
			h.bad++
		} else if err != nil {
			return err
		}
		h.offset += int64(len(line)) + 1
		text = rest
	}
}

func (h *history) addLine(line []byte) error {
	if len(bytes.TrimSpace(line)) == 0 {
		return nil
	}
	step := gjson.GetBytes(line, "step")
	if step.Type != gjson.Number || !gjson.ValidBytes(line) {
		h.bad++
		return nil
	}
	now := int(step.Int())
	if now < h.step {
		return errRewritten
	}
	h.step = now
	h.rows++
	gjson.ParseBytes(line).ForEach(func(key, value gjson.Result) bool {
		if v, ok := number(value); ok && key.Str != "step" {
			h.at(key.Str).Add(float64(now), v)
		}
		return true
	})
	return nil
}

// at returns the series of a name. The name is copied: gjson's refers to the whole line.
func (h *history) at(name string) *Series {
	if s, ok := h.series[name]; ok {
		return s
	}
	s := new(Series)
	h.series[strings.Clone(name)] = s
	return s
}

// number reads a metric as package metrics writes it: NaN and the infinities are strings.
func number(value gjson.Result) (v float64, ok bool) {
	switch {
	case value.Type == gjson.Number:
		return value.Num, true
	case value.Type != gjson.String:
		return 0, false
	case value.Str == "NaN":
		return math.NaN(), true
	case value.Str == "Infinity":
		return math.Inf(1), true
	case value.Str == "-Infinity":
		return math.Inf(-1), true
	}
	return 0, false
}

func (h *history) last(name string) (value float64, ok bool) {
	if s := h.series[name]; s != nil {
		return s.Last()
	}
	return 0, false
}
