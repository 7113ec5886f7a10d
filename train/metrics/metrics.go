// Package metrics writes the metrics of a training run to its run folder. The same rows are
// written to three files:
//
//   - log.jsonl: one JSON object a row, for programs, and for [Read];
//   - progress.csv: the reference's table, its columns first;
//   - events.out.tfevents.*: what TensorBoard reads.
//
// A row is in the files when [Writer.Write] returns, so a killed process loses no row, and
// leaves at most one incomplete line. A resumed run drops that line and the rows after its
// checkpoint, so that its files equal those of an uninterrupted run.
package metrics

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"unicode"
	"unicode/utf8"
)

const (
	logFile   = "log.jsonl"
	tableFile = "progress.csv"

	maxStep = 1 << 53 // readers of JSON and CSV may hold a step as a float64
)

// Names returns the names of the files that a resumed run continues.
func Names() []string { return []string{logFile, tableFile} }

// Value is one named number of a row: a rate, or a mean since the previous row. NaN and the
// infinities are valid, since they show where a run diverges.
type Value struct {
	Name  string
	Value float64
}

// Row holds the metrics of one optimizer step, in the order written.
type Row struct {
	Step   int     // optimizer steps so far
	Values []Value // all except the step
}

// Get returns the value of a name; ok is false if the row has none.
func (r Row) Get(name string) (value float64, ok bool) {
	for _, v := range r.Values {
		if v.Name == name {
			return v.Value, true
		}
	}
	return 0, false
}

// Writer appends rows to the files of one run folder. It is not safe for concurrent use.
type Writer struct {
	log    *file
	table  *table
	events *events
	last   int // step of the newest row
}

// Open opens the files of a run folder whose run is at a step. It creates a missing folder
// and missing files, and always a new TensorBoard file. It drops rows after that step and an
// incomplete last line.
//
// If another line of a file is not a row, Open returns an error and changes no file.
func Open(dir string, step int) (*Writer, error) {
	if err := checkStep(step); err != nil {
		return nil, fmt.Errorf("cannot open the metrics of %s: %w", dir, err)
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, fmt.Errorf("cannot make the run folder: %w", err)
	}
	w := &Writer{last: step}
	if err := w.open(dir, step); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot open the run's metrics: %w", err), w.Close())
	}
	return w, nil
}

func (w *Writer) open(dir string, step int) (err error) {
	logPath, tablePath := filepath.Join(dir, logFile), filepath.Join(dir, tableFile)
	oldLog, err := readIfExists(logPath)
	if err != nil {
		return err
	}
	oldTable, err := readIfExists(tablePath)
	if err != nil {
		return err
	}
	newLog, err := logUpTo(step, logPath, oldLog)
	if err != nil {
		return err
	}
	columns, newTable, err := tableUpTo(step, tablePath, oldTable)
	if err != nil {
		return err
	}
	if w.log, err = reopen(logPath, oldLog, newLog); err != nil {
		return err
	}
	w.table = &table{columns: columns}
	if w.table.file, err = reopen(tablePath, oldTable, newTable); err != nil {
		return err
	}
	w.events, err = newEvents(dir, step)
	return err
}

// Write appends the row of a step to all files. Steps must not decrease. Names must be
// unique and not empty, without control characters; a value "step" must equal the step. A
// row that breaks these rules is not written to any file.
func (w *Writer) Write(step int, row []Value) error {
	r, err := newRow(step, row)
	if err != nil {
		return fmt.Errorf("%s: invalid row: %w", w.log.path, err)
	}
	if step < w.last {
		return fmt.Errorf("%s: step %d cannot follow step %d", w.log.path, step, w.last)
	}
	w.last = step
	if err := w.log.append(r.json()); err != nil {
		return err
	}
	if err := w.table.append(r); err != nil {
		return err
	}
	return w.events.scalars(r)
}

// WriteImage writes an image of a step, the bytes of a PNG file, for TensorBoard: the other files
// hold numbers. The name is as for Write.
func (w *Writer) WriteImage(step int, name string, png []byte) error {
	if err := errors.Join(checkStep(step), checkName(name)); err != nil {
		return fmt.Errorf("%s: invalid image: %w", w.events.file.path, err)
	}
	if err := w.events.image(step, name, png); err != nil {
		return fmt.Errorf("%s: image %s of step %d: %w", w.events.file.path, name, step, err)
	}
	return nil
}

func newRow(step int, values []Value) (Row, error) {
	r := Row{Step: step}
	if err := checkStep(step); err != nil {
		return r, err
	}
	seen := map[string]bool{}
	for _, v := range values {
		if err := checkName(v.Name); err != nil {
			return r, err
		}
		if seen[v.Name] {
			return r, fmt.Errorf("%s occurs twice", v.Name)
		}
		seen[v.Name] = true
		if v.Name != "step" {
			r.Values = append(r.Values, v)
		} else if v.Value != float64(step) {
			return r, fmt.Errorf("the row of step %d holds a value step of %g", step, v.Value)
		}
	}
	return r, nil
}

func checkStep(step int) error {
	if step < 0 || step > maxStep {
		return fmt.Errorf("a step must be in 0..%d, not %d", maxStep, step)
	}
	return nil
}

// checkName rejects names that CSV or TensorBoard cannot hold.
func checkName(name string) error {
	if name == "" {
		return errors.New("a value has no name")
	}
	if !utf8.ValidString(name) {
		return fmt.Errorf("the name %q is not UTF-8", name)
	}
	for _, r := range name {
		if unicode.IsControl(r) {
			return fmt.Errorf("the name %q has a control character", name)
		}
	}
	return nil
}

// Close syncs the files to the disk and closes them. Writing to a closed Writer is an
// error.
func (w *Writer) Close() error {
	var errs []error
	if w.log != nil {
		errs = append(errs, w.log.close())
	}
	if w.table != nil && w.table.file != nil {
		errs = append(errs, w.table.file.close())
	}
	if w.events != nil {
		errs = append(errs, w.events.file.close())
	}
	return errors.Join(errs...)
}

// Read returns the rows of a run folder from its log.jsonl. The run may be in progress: an
// incomplete last line is ignored.
func Read(dir string) ([]Row, error) {
	path := filepath.Join(dir, logFile)
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the run's metrics: %w", err)
	}
	return parseLog(path, text)
}
