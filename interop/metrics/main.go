// Command metrics appends to a run's metrics like a resumed training run, for the tests that
// read them with Python's TensorBoard, csv and json.
//
//	metrics FROM STEP RUN
//
// It reads the rows of the folder FROM, resumes the run folder RUN at STEP, and
// writes the rows.
package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"iddpm/train/metrics"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: metrics FROM STEP RUN")
		os.Exit(2)
	}
	if err := resume(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, "metrics:", err)
		os.Exit(1)
	}
}

func resume(from, at, run string) (err error) {
	step, err := strconv.Atoi(at)
	if err != nil {
		return err
	}
	rows, err := metrics.Read(from)
	if err != nil {
		return err
	}
	w, err := metrics.Open(run, step)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	for _, r := range rows {
		if err := w.Write(r.Step, r.Values); err != nil {
			return err
		}
	}
	return nil
}
