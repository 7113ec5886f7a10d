package watch

import (
	"errors"
	"math"
	"testing"
)

func TestHistoryReadsWholeLines(t *testing.T) {
	h := newHistory()
	text := `{"step":1,"loss":0.5,"lr":"NaN"}` + "\n" + `{"step":2,"loss":0.25}` + "\n" + `{"step":3,"lo`
	if err := h.read([]byte(text), false); err != nil {
		t.Fatal(err)
	}
	if h.step != 2 || h.rows != 2 || h.offset != int64(len(text)-len(`{"step":3,"lo`)) {
		t.Errorf("step %d, %d rows, offset %d", h.step, h.rows, h.offset)
	}
	if loss, _ := h.last("loss"); loss != 0.25 {
		t.Errorf("loss %v", loss)
	}
	if lr, _ := h.last("lr"); !math.IsNaN(lr) {
		t.Errorf("lr %v", lr)
	}
}

func TestHistoryOfADamagedLog(t *testing.T) {
	h := newHistory()
	for _, line := range []string{"", "[]", "nonsense", `{"loss":1}`, `{"step":"1"}`, `{"step":1,"loss":`, `{"step":4,"loss":{"a":1},"text":"x","ok":2}`} {
		if err := h.read([]byte(line+"\n"), false); err != nil {
			t.Errorf("%q: %v", line, err)
		}
	}
	if h.rows != 1 || h.bad != 5 || len(h.series) != 1 {
		t.Errorf("%d rows, %d bad lines, series %v", h.rows, h.bad, h.series)
	}
}

func TestHistoryNoticesARewrittenLog(t *testing.T) {
	h := newHistory()
	if err := h.read([]byte("{\"step\":5}\n{\"step\":3}\n"), false); !errors.Is(err, errRewritten) {
		t.Errorf("%v", err)
	}
}

func FuzzHistory(f *testing.F) {
	f.Add([]byte("{\"step\":1,\"loss\":0.5}\n{\"step\":2,\"loss\":\"Infinity\"}\n"))
	f.Add([]byte("{\"step\":1e400}\n\n\xff\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		h := newHistory()
		err := h.read(text, false)
		if h.offset > int64(len(text)) || err == nil && h.offset < int64(len(text)) && text[len(text)-1] == '\n' {
			t.Errorf("offset %d of %d", h.offset, len(text))
		}
	})
}
