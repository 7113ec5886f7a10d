package imaging

import (
	"fmt"
	"image/color"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/wangkuiyi/gotorch/npy"

	"iddpm/data/imaging/turbojpeg"
)

// TestPillow compares decoding and preprocessing with Pillow's output for the same
// files (testdata/pillow/make.py): keys are FILE@whole and FILE@SIZE.
func TestPillow(t *testing.T) {
	d := Decoder{Background: NewBackground(color.NRGBA{200, 30, 60, 255}), Orient: true}
	t.Run("go", func(t *testing.T) { testPillow(t, d, pillowTolerance) })
	t.Run("turbo", func(t *testing.T) {
		d.Turbo = needTurbo(t)
		testPillow(t, d, func(string) (int, float64) { return 0, 1 })
	})
}

// needTurbo skips a test if libjpeg-turbo is not installed; Go's decoder is tested
// everywhere.
func needTurbo(t *testing.T) bool {
	t.Helper()
	if err := turbojpeg.Available(); err != nil {
		t.Skip(err)
	}
	return true
}

func testPillow(t *testing.T, d Decoder, tolerance func(name string) (int, float64)) {
	dir := filepath.Join("testdata", "pillow")
	expected, err := npy.ReadNPZ(filepath.Join(dir, "expected.npz"))
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range expected {
		t.Run(key, func(t *testing.T) {
			name, how, _ := strings.Cut(key, "@")
			if d.Turbo && filepath.Ext(name) != ".jpg" {
				return
			}
			file, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			p, err := d.Decode(file)
			if err != nil {
				t.Fatal(err)
			}
			got, err := wholeOrFitted(p, how)
			if err != nil {
				t.Fatal(err)
			}
			near, equal := tolerance(name)
			comparePixels(t, got, want.Data, near, equal)
		})
	}
}

func wholeOrFitted(p Image, how string) ([]byte, error) {
	if how == "whole" {
		got := make([]byte, p.w*p.h*3)
		p.writeRGB(got)
		return got, nil
	}
	size, err := strconv.Atoi(how)
	if err != nil {
		return nil, fmt.Errorf("%q is not a size", how)
	}
	got := make([]byte, size*size*3)
	return got, p.Fit(got, size)
}

// pillowTolerance is the tolerance of Go's decoders: exact except for JPEG, whose inverse
// DCT rounds differently from libjpeg's and, for YCCK, whose colour planes are upsampled
// without a filter.
func pillowTolerance(name string) (tolerance int, equal float64) {
	switch {
	case strings.HasPrefix(name, "ycck"):
		return 9, 0.6
	case slices.Contains([]string{".jpg", ".jpeg"}, strings.ToLower(filepath.Ext(name))):
		return 3, 0.92
	}
	return 0, 1
}
