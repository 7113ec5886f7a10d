package metrics

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
)

// referenceColumns come first, in the order of the reference's progress.csv, even if a run
// lacks them (a loss without a vb term does).
var referenceColumns = []string{"step", "samples", "loss", "mse", "vb", "loss_q0", "loss_q1", "loss_q2", "loss_q3", "grad_norm"}

// table is progress.csv. As in the logger of OpenAI's baselines, a new value adds a column
// to the file.
type table struct {
	file    *file
	columns []string
}

// append adds a row, and columns for its new values.
func (t *table) append(r Row) error {
	columns := slices.Clone(t.columns)
	for _, v := range r.Values {
		if !slices.Contains(columns, v.Name) {
			columns = append(columns, v.Name)
		}
	}
	if len(columns) > len(t.columns) {
		if err := t.widen(columns); err != nil {
			return err
		}
	}
	return t.file.append(r.csv(t.columns))
}

// widen rewrites the file under a longer header.
func (t *table) widen(columns []string) error {
	path := t.file.path
	before, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	after := csvLine(columns)
	commas := bytes.Repeat([]byte(","), len(columns)-len(t.columns))
	header := true
	for line := range bytes.Lines(before) {
		if !header {
			after = append(append(append(after, bytes.TrimRight(line, "\r\n")...), commas...), '\n')
		}
		header = false
	}
	// Closed first, so that after a failure no row is written under the old header.
	if err := t.file.close(); err != nil {
		return err
	}
	wider, err := reopen(path, before, after)
	if err != nil {
		return err
	}
	t.file, t.columns = wider, columns
	return nil
}

// csv returns the row under the given columns.
func (r Row) csv(columns []string) []byte {
	cells := make([]string, len(columns))
	for i, name := range columns {
		if name == "step" {
			cells[i] = strconv.Itoa(r.Step)
		} else if v, ok := r.Get(name); ok {
			cells[i] = cell(v)
		}
	}
	return csvLine(cells)
}

// cell formats a number as JSON does, and NaN and the infinities as Python's str does.
func cell(v float64) string {
	switch {
	case math.IsNaN(v):
		return "nan"
	case math.IsInf(v, 1):
		return "inf"
	case math.IsInf(v, -1):
		return "-inf"
	}
	return string(number(v))
}

func csvLine(cells []string) []byte {
	var line bytes.Buffer
	w := csv.NewWriter(&line)
	_ = w.Write(cells) // writing to a buffer does not fail
	w.Flush()
	return line.Bytes()
}

// tableUpTo returns the columns of a progress.csv and its text without the rows after a
// step. It does not change the other cells, so that a table that was edited by a user or
// started by the reference is continued as it is.
func tableUpTo(step int, path string, text []byte) (columns []string, kept []byte, err error) {
	err = eachLine(path, text, func(line []byte) error {
		cells, err := csv.NewReader(bytes.NewReader(line)).Read()
		if err != nil {
			return err
		}
		keep := true
		if columns == nil {
			columns, err = header(cells)
		} else {
			keep, err = isUpTo(step, columns, cells)
		}
		if keep && err == nil {
			kept = append(append(kept, line...), '\n')
		}
		return err
	})
	if err == nil && columns == nil {
		columns, kept = referenceColumns, csvLine(referenceColumns)
	}
	return columns, kept, err
}

func header(cells []string) ([]string, error) {
	if !slices.Contains(cells, "step") {
		return nil, fmt.Errorf("no column step among %q", cells)
	}
	return cells, nil
}

func isUpTo(step int, columns, cells []string) (bool, error) {
	if len(cells) != len(columns) {
		return false, fmt.Errorf("%d cells under %d columns", len(cells), len(columns))
	}
	n, err := parseStep(cells[slices.Index(columns, "step")])
	return n <= step, err
}
