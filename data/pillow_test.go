package data

import (
	"fmt"
	"image/color"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/wangkuiyi/gotorch/npy"
)

// TestPillow compares decoding, and decoding and fitting, with what Pillow made
// of the same files (testdata/pillow/make.py): keys are FILE@whole and FILE@SIZE.
func TestPillow(t *testing.T) {
	dir := filepath.Join("testdata", "pillow")
	expected, err := npy.ReadNPZ(filepath.Join(dir, "expected.npz"))
	if err != nil {
		t.Fatal(err)
	}
	d := decoding{background: newBackground(color.NRGBA{200, 30, 60, 255}), orient: true}
	for key, want := range expected {
		t.Run(key, func(t *testing.T) {
			name, how, _ := strings.Cut(key, "@")
			file, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			p, err := d.decode(file)
			if err != nil {
				t.Fatal(err)
			}
			got, err := wholeOrFitted(p, how)
			if err != nil {
				t.Fatal(err)
			}
			tolerance, equal := pillowTolerance(name)
			comparePixels(t, got, want.Data, tolerance, equal)
		})
	}
}

func wholeOrFitted(p picture, how string) ([]byte, error) {
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
	return got, fit(got, p, size)
}

// pillowTolerance is exact but for JPEG, where Go's inverse cosine transform
// rounds differently from libjpeg's.
func pillowTolerance(name string) (tolerance int, equal float64) {
	if filepath.Ext(name) == ".jpg" {
		return 3, 0.92
	}
	return 0, 1
}
