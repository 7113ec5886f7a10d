package imaging

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/wangkuiyi/gotorch/npy"

	"iddpm/data/imaging/turbojpeg"
)

// goldenDir returns the folder of golden numbers and whether it is the
// project's own copy, which is complete.
func goldenDir() (dir string, own bool) {
	dir = os.Getenv("IDDPM_GOLDEN")
	switch {
	case dir == "":
		return filepath.Join("..", "..", "testdata", "golden"), true
	case !filepath.IsAbs(dir): // it starts at the module's root
		return filepath.Join("..", "..", dir), false
	}
	return dir, false
}

// TestGoldenImages compares the fitted pictures with the reference's: every
// array NAME_at_SIZE of image/expected.npz is what it makes of image/NAME.*.
func TestGoldenImages(t *testing.T) {
	golden, own := goldenDir()
	dir := filepath.Join(golden, "image")
	if _, err := os.Stat(dir); os.IsNotExist(err) && !own {
		others, err := os.ReadDir(golden)
		if err != nil || len(others) == 0 {
			t.Fatalf("nothing at all in %s (%v)", golden, err)
		}
		t.Skipf("%s has no image folder", golden)
	}
	expected, err := npy.ReadNPZ(filepath.Join(dir, "expected.npz"))
	if err != nil {
		t.Fatal(err)
	}
	key := regexp.MustCompile(`^(.*)_at_(\d+)$`)
	compared := 0
	for name, want := range expected {
		m := key.FindStringSubmatch(name)
		if m == nil {
			t.Errorf("expected.npz: %q is not NAME_at_SIZE", name)
			continue
		}
		compared++
		t.Run(name, func(t *testing.T) { compareGolden(t, dir, m[1], m[2], want) })
	}
	if compared == 0 {
		t.Fatalf("nothing to compare in %s", dir)
	}
}

func compareGolden(t *testing.T, dir, name, sizeText string, want *npy.Array) {
	files, _ := filepath.Glob(filepath.Join(dir, name+".*"))
	if len(files) != 1 {
		t.Fatalf("%s: %d files named %s.*, not one", dir, len(files), name)
	}
	file, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	size, err := strconv.Atoi(sizeText)
	if err != nil {
		t.Fatal(err)
	}
	d := Decoder{Background: NewBackground(nil), Turbo: turbojpeg.Available() == nil}
	p, err := d.Decode(file)
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, size*size*3)
	if err := p.Fit(got, size); err != nil {
		t.Fatal(err)
	}
	tolerance, equal := 1, 0.99
	if near, share := pillowTolerance(filepath.Base(files[0])); !d.Turbo && near > tolerance {
		tolerance, equal = near, share // of Go's JPEG decoder
	}
	comparePixels(t, got, want.Data, tolerance, equal)
}

// comparePixels fails unless got is within tolerance grey levels of want
// everywhere and equal to it in at least the share equal of the values.
func comparePixels(t *testing.T, got, want []byte, tolerance int, equal float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d values, want %d", len(got), len(want))
	}
	same, worst := 0, 0
	for i, v := range got {
		d := int(v) - int(want[i])
		worst = max(worst, d, -d)
		if d == 0 {
			same++
		}
	}
	share := float64(same) / float64(len(want))
	t.Logf("%.3f %% equal, largest difference %d", 100*share, worst)
	if worst > tolerance || share < equal {
		t.Errorf("%.3f %% of the values are equal, want %.1f %%; the largest difference is %d, want at most %d", 100*share, 100*equal, worst, tolerance)
	}
}
