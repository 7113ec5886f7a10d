package metrics

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
)

// json returns the row as a line of log.jsonl. JSON has no numbers for NaN and the
// infinities: they become the strings "NaN", "Infinity" and "-Infinity", which Python's
// float() and JavaScript's parseFloat accept.
func (r Row) json() []byte {
	line := append([]byte(`{"step":`), strconv.Itoa(r.Step)...)
	for _, v := range r.Values {
		line = append(line, ',')
		line = append(line, quote(v.Name)...)
		line = append(line, ':')
		line = append(line, number(v.Value)...)
	}
	return append(line, "}\n"...)
}

func quote(name string) []byte {
	text, _ := json.Marshal(name) // a string does not fail
	return text
}

func number(v float64) []byte {
	switch {
	case math.IsNaN(v):
		return quote("NaN")
	case math.IsInf(v, 1):
		return quote("Infinity")
	case math.IsInf(v, -1):
		return quote("-Infinity")
	}
	text, _ := json.Marshal(v) // a finite number does not fail
	return text
}

// logUpTo returns the lines of a log.jsonl whose step is at most the given one.
func logUpTo(step int, path string, text []byte) (kept []byte, err error) {
	err = eachLine(path, text, func(line []byte) error {
		row, err := parseRow(line)
		if err == nil && row.Step <= step {
			kept = append(append(kept, line...), '\n')
		}
		return err
	})
	return kept, err
}

func parseLog(path string, text []byte) (rows []Row, err error) {
	err = eachLine(path, text, func(line []byte) error {
		row, err := parseRow(line)
		if err == nil {
			rows = append(rows, row)
		}
		return err
	})
	return rows, err
}

// parseRow reads a line of log.jsonl: an object of numbers, one of them the step.
func parseRow(line []byte) (Row, error) {
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return Row{}, errors.New("not a JSON object")
	}
	step := ""
	var values []Value
	for d.More() {
		name, v, text, err := parseMember(d)
		if err != nil {
			return Row{}, err
		}
		if name == "step" {
			step = text
		}
		values = append(values, Value{name, v})
	}
	if _, err := d.Token(); err != nil {
		return Row{}, err
	}
	if _, err := d.Token(); err != io.EOF {
		return Row{}, errors.New("something follows the JSON object")
	}
	n, err := parseStep(step)
	if err != nil {
		return Row{}, err
	}
	return newRow(n, values)
}

// parseMember reads a name and its number, which it also returns as text.
func parseMember(d *json.Decoder) (name string, v float64, text string, err error) {
	key, err := d.Token()
	if err != nil {
		return "", 0, "", err
	}
	name = key.(string) // the decoder accepts no other token before a colon
	value, err := d.Token()
	if err != nil {
		return "", 0, "", err
	}
	switch value := value.(type) {
	case json.Number:
		v, err = value.Float64()
		return name, v, value.String(), err
	case string:
		switch value {
		case "NaN":
			return name, math.NaN(), value, nil
		case "Infinity":
			return name, math.Inf(1), value, nil
		case "-Infinity":
			return name, math.Inf(-1), value, nil
		}
	}
	return "", 0, "", fmt.Errorf("the value of %q is not a number", name)
}

func parseStep(text string) (int, error) {
	step, err := strconv.Atoi(text)
	if err != nil {
		return 0, fmt.Errorf("the step %q is not a whole number", text)
	}
	return step, nil
}
