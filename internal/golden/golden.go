// Package golden gives tests the numbers of the published reference implementation, and
// compares with them. testdata/golden/README.md describes the layout of the folder.
//
// The folder is $IDDPM_GOLDEN (a relative path starts at the module's root) or the copy
// in testdata/golden. Another folder may lack rows of the README's table: tests of such
// a row are skipped and name the row. A folder without any row fails every test.
package golden

import (
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sort"
	"testing"

	"github.com/wangkuiyi/gotorch/npy"
)

// rows are the folders that a golden folder may contain.
var rows = []string{"schedule", "respace", "pieces", "image", "model", "classifier", "solver"}

// Dir returns the golden folder. The test fails if it contains none of the rows.
func Dir(t testing.TB) string {
	t.Helper()
	root := moduleRoot(t)
	dir := os.Getenv("IDDPM_GOLDEN")
	switch {
	case dir == "":
		dir = filepath.Join(root, "testdata", "golden")
	case !filepath.IsAbs(dir):
		dir = filepath.Join(root, dir)
	}
	for _, row := range rows {
		if _, err := os.Stat(filepath.Join(dir, row)); err == nil {
			return dir
		}
	}
	t.Fatalf("the golden folder %s contains none of %v: set IDDPM_GOLDEN to one that does, or unset it", dir, rows)
	return ""
}

// Files returns the files of the golden folder that match pattern, such as
// "schedule/*.npz", sorted. If none does, the test is skipped.
func Files(t testing.TB, pattern string) []string {
	t.Helper()
	dir := Dir(t)
	// filepath.Glob would interpret brackets in the folder's own path as a pattern.
	files, err := fs.Glob(os.DirFS(dir), pattern)
	if err != nil {
		t.Fatalf("pattern %q: %v", pattern, err)
	}
	if len(files) == 0 {
		t.Skipf("the golden folder %s has no %s", dir, pattern)
	}
	for i, file := range files {
		files[i] = filepath.Join(dir, filepath.FromSlash(file))
	}
	sort.Strings(files)
	return files
}

// moduleRoot returns the folder of go.mod: tests run in their package's folder.
func moduleRoot(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("no go.mod above the test's folder")
		}
		dir = parent
	}
}

// Archive is a golden .npz file. A test that reads a missing array, or one of another
// type, fails.
type Archive struct {
	t      testing.TB
	path   string
	arrays map[string]*npy.Array
	nudge  int // see Nudged
}

// Open reads a golden .npz file for the test t.
func Open(t testing.TB, path string) Archive {
	t.Helper()
	arrays, err := npy.ReadNPZ(path)
	if err != nil {
		t.Fatalf("read %s: %v", path, err)
	}
	return Archive{t: t, path: path, arrays: arrays}
}

// Names returns the names of the arrays, sorted.
func (a Archive) Names() []string {
	names := make([]string, 0, len(a.arrays))
	for name := range a.arrays {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// Has reports whether the file has an array of that name.
func (a Archive) Has(name string) bool { return a.arrays[name] != nil }

// Array returns one array.
func (a Archive) Array(name string) *npy.Array {
	a.t.Helper()
	if a.arrays[name] == nil {
		a.t.Fatalf("%s has no array %q", a.path, name)
	}
	return a.arrays[name]
}

// Shape returns the shape of an array; that of a scalar is empty.
func (a Archive) Shape(name string) []int64 {
	a.t.Helper()
	return a.Array(name).Shape
}

// Nudged returns the archive with each float32 perturbed for [Conditioned]: differently
// for each nudge, and not at all for 0.
func (a Archive) Nudged(nudge int) Archive {
	a.nudge = nudge
	return a
}

// Float32s returns the elements of an array as float32.
func (a Archive) Float32s(name string) []float32 {
	a.t.Helper()
	exact := a.Array(name).Float64s()
	values := make([]float32, len(exact))
	for i, v := range exact {
		values[i] = float32(v)
	}
	return Nudged(values, a.nudge)
}

// Nudged returns perturbed values: differently for each nudge, and unchanged for 0.
func Nudged(values []float32, nudge int) []float32 {
	if nudge == 0 {
		return values
	}
	nudged := make([]float32, len(values))
	signs := rand.New(rand.NewPCG(uint64(nudge), uint64(len(values))))
	for i, v := range values {
		nudged[i] = v * float32(1+nudgeSize*float64(2*signs.IntN(2)-1))
	}
	return nudged
}

// Float64s returns the elements of an array as float64.
func (a Archive) Float64s(name string) []float64 {
	a.t.Helper()
	return a.Array(name).Float64s()
}

// Int64s returns the elements of an integer array.
func (a Archive) Int64s(name string) []int64 {
	a.t.Helper()
	return must(a, name, (*npy.Array).Int64s)
}

// Uint8s returns the elements of a uint8 array.
func (a Archive) Uint8s(name string) []uint8 {
	a.t.Helper()
	return must(a, name, (*npy.Array).Uint8s)
}

func must[T any](a Archive, name string, values func(*npy.Array) ([]T, error)) []T {
	a.t.Helper()
	v, err := values(a.Array(name))
	if err != nil {
		a.t.Fatalf("%s, array %q: %v", a.path, name, err)
	}
	return v
}
