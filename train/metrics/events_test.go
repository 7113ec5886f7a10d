package metrics

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// records splits a TFRecord file and checks its framing.
func records(t *testing.T, b []byte) (all [][]byte) {
	t.Helper()
	for len(b) > 0 {
		if len(b) < 16 || binary.LittleEndian.Uint64(b) > uint64(len(b)-16) {
			t.Fatalf("%d bytes are no record", len(b))
		}
		n := int(binary.LittleEndian.Uint64(b))
		data := b[12 : 12+n]
		if !bytes.Equal(record(data), b[:16+n]) {
			t.Fatalf("record %d has other checksums", len(all))
		}
		all, b = append(all, data), b[16+n:]
	}
	return all
}

func eventFiles(t *testing.T, dir string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "events.out.tfevents.*"))
	if err != nil {
		t.Fatal(err)
	}
	return paths // in TensorBoard's order
}

// Python's tensorboard writes the same events (testdata/make.py): they are equal byte by byte
// except for the wall times.
func TestEventsMatchTensorBoard(t *testing.T) {
	dir := t.TempDir()
	w := open(t, dir, 4)
	err := w.Write(7, []Value{{"step", 7}, {"samples", 56}, {"loss", 0.1}, {"vb", math.NaN()}, {"mse", math.Inf(1)},
		{"grad_norm", -1e-300}, {"größe", -2.5}})
	if err := errors.Join(err, w.WriteImage(8, "samples", []byte(read(t, "testdata", "image.png")))); err != nil {
		t.Fatal(err)
	}
	// Before Close: the events are in the file even if the process is killed.
	got := records(t, []byte(read(t, eventFiles(t, dir)[0])))
	want := records(t, []byte(read(t, "testdata", "python.tfevents")))
	if len(got) != len(want) {
		t.Fatalf("%d events, want %d", len(got), len(want))
	}
	for i := range got {
		const wallTime = 9 // the field's tag and 8 bytes
		if !bytes.Equal(got[i][wallTime:], want[i][wallTime:]) || got[i][0] != want[i][0] {
			t.Errorf("event %d is\n%q, want\n%q", i, got[i], want[i])
		}
		seconds := math.Float64frombits(binary.LittleEndian.Uint64(got[i][1:wallTime]))
		if age := time.Since(time.UnixMilli(int64(seconds * 1000))); age < -time.Minute || age > time.Hour {
			t.Errorf("event %d is %v old", i, age)
		}
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

// Each start of a run writes its own file, named after the earlier ones in sort order. Its
// START names the step from which the earlier files are void.
func TestEventsPerStart(t *testing.T) {
	dir := t.TempDir()
	steps := []int{0, 300, 7, 0}
	var seen []string
	for i, step := range steps {
		writeRows(t, dir, step)
		paths := eventFiles(t, dir)
		if len(paths) != i+1 || !slices.Equal(paths[:i], seen) {
			t.Fatalf("files %v, before %v", paths, seen)
		}
		seen = paths
		start := records(t, []byte(read(t, paths[i])))[1]
		want := append(varint(nil, eventStep, step+1), eventSessionLog<<3|2, 2, sessionLogStatus<<3, statusStart)
		if !bytes.Equal(start[9:], want) {
			t.Errorf("resumed at %d: START is %q, want %q", step, start[9:], want)
		}
	}
}

// What is no PNG file is not written.
func TestWriteImageErrors(t *testing.T) {
	dir := t.TempDir()
	w := open(t, dir, 0)
	before := read(t, eventFiles(t, dir)[0])
	for want, err := range map[string]error{
		"not a PNG":       w.WriteImage(1, "samples", []byte("no image")),
		"has no name":     w.WriteImage(1, "", []byte(read(t, "testdata", "image.png"))),
		"must be in 0..9": w.WriteImage(-1, "samples", nil),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	if err := w.Close(); err != nil || read(t, eventFiles(t, dir)[0]) != before {
		t.Errorf("the file has changed, %v", err)
	}
}

func TestEventFileExists(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events")
	write(t, "another run's", path)
	if _, err := openFile(path, os.O_EXCL); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v", err)
	}
}

// On a full disk the error names only that, not an error of closing the file.
func TestEventsOnAFullDisk(t *testing.T) {
	dir := t.TempDir()
	err := withFileLimit(t, 8, func() error {
		_, err := newEvents(dir, 0)
		return err
	})
	if !errors.Is(err, syscall.EFBIG) || strings.Contains(err.Error(), "nil") {
		t.Errorf("error %v", err)
	}
}
