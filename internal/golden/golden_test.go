package golden

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// recorder is a fake testing.TB for a test that must fail or be skipped.
type recorder struct {
	testing.TB
	errors  int
	stopped string
}

func (r *recorder) Helper()                        {}
func (r *recorder) Errorf(string, ...any)          { r.errors++ }
func (r *recorder) Logf(string, ...any)            {}
func (r *recorder) Fatalf(format string, a ...any) { r.stop("fatal", format, a...) }
func (r *recorder) Skipf(format string, a ...any)  { r.stop("skip", format, a...) }

func (r *recorder) stop(how, format string, a ...any) {
	r.stopped = how
	panic(fmt.Sprintf(format, a...))
}

func (r *recorder) run(f func()) {
	defer func() { _ = recover() }()
	f()
}

func TestWithin(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	for _, c := range []struct {
		name            string
		got, want       []float64
		relative, ofMax float64
		ok              bool
	}{
		{"equal", []float64{1, 0}, []float64{1, 0}, 0, 0, true},
		{"relative", []float64{1.01, 100}, []float64{1, 100}, 0.02, 0, true},
		{"relative, off", []float64{1.03, 100}, []float64{1, 100}, 0.02, 0, false},
		{"of the largest", []float64{1.9, 100}, []float64{1, 100}, 0, 0.01, true},
		{"of the largest, off", []float64{2.1, 100}, []float64{1, 100}, 0, 0.01, false},
		{"NaN", []float64{nan}, []float64{1}, 1, 1, false},
		{"NaN wanted", []float64{1}, []float64{nan}, 1, 1, false},
		{"infinite", []float64{inf}, []float64{1}, 1, 1, false},
		{"length", []float64{1}, []float64{1, 2}, 1, 1, false},
	} {
		r := &recorder{}
		WithinNorms(r, c.name, c.got, c.want, c.relative, c.ofMax)
		if (r.errors == 0) != c.ok {
			t.Errorf("%s: %d errors, want ok = %v", c.name, r.errors, c.ok)
		}
	}
}

func TestFiles(t *testing.T) {
	empty, partial, brackets := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "[a] of *?")
	for _, file := range []string{
		filepath.Join(partial, "schedule", "x.npz"),
		filepath.Join(brackets, "schedule", "[b].npz"),
		filepath.Join(brackets, "model", "[c] of *?", "io.npz"),
	} {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ dir, pattern, stopped, found string }{
		{empty, "schedule/*.npz", "fatal", ""},
		{filepath.Join(empty, "missing"), "schedule/*.npz", "fatal", ""},
		{partial, "pieces/*.npz", "skip", ""},
		{partial, "schedule/*.npz", "", "schedule/x.npz"},
		{brackets, "pieces/*.npz", "skip", ""},
		{brackets, "schedule/*.npz", "", "schedule/[b].npz"},
		{brackets, "model/*/io.npz", "", "model/[c] of *?/io.npz"},
	} {
		t.Setenv("IDDPM_GOLDEN", c.dir)
		var want, got []string
		if c.found != "" {
			want = []string{filepath.Join(c.dir, c.found)}
		}
		r := &recorder{}
		r.run(func() { got = Files(r, c.pattern) })
		if r.stopped != c.stopped || !slices.Equal(got, want) {
			t.Errorf("Files(%s, %s): %v, %q, want %v, %q", c.dir, c.pattern, got, r.stopped, want, c.stopped)
		}
	}
}

func TestArchive(t *testing.T) {
	for _, path := range Files(t, "pieces/likelihood.npz") {
		a := Open(t, path)
		n, want := len(a.Float32s("x")), 1
		for _, size := range a.Shape("x") {
			want *= int(size)
		}
		if n != want {
			t.Errorf("x has %d elements, want %d", n, want)
		}
		r := &recorder{}
		b := Archive{t: r, path: a.path, arrays: a.arrays}
		if r.run(func() { b.Array("no such array") }); r.stopped != "fatal" {
			t.Error("a missing array did not fail the test")
		}
	}
}
