package imaging

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
)

func TestVerticalFirst(t *testing.T) {
	for _, c := range []struct {
		fromW, fromH, w, h int
		want               bool
	}{
		{40, 80, 20, 40, false}, // twice as many, not more
		{40, 82, 20, 41, true},
		{41, 81, 20, 40, false},
		{41, 83, 20, 41, false},
		{41, 85, 20, 42, true},
		{300, 211, 150, 105, false},
		{20, 60, 30, 90, false}, // larger
		{20, 60, 30, 59, true},
		{20, 60, 20, 59, true},
		{20, 60, 10, 60, false},
		{20, 60, 20, 60, false},
		{20, 60, 30, 61, false},
	} {
		if got := verticalFirst(Image{w: c.fromW, h: c.fromH}, c.w, c.h); got != c.want {
			t.Errorf("%d x %d to %d x %d: %t", c.fromW, c.fromH, c.w, c.h, got)
		}
	}
}

// TestResampleCrop compares the parts of a scaled image with the whole.
func TestResampleCrop(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for name, order := range map[string]passOrder{"vertical": alwaysVerticalFirst, "horizontal": horizontalFirst} {
		for _, size := range [][2]int{{10, 30}, {20, 60}, {31, 90}, {20, 41}, {9, 60}, {20, 75}} {
			for _, c := range []int{1, 3, 4} {
				t.Run(fmt.Sprintf("%s/%dx%dx%d", name, size[0], size[1], c), func(t *testing.T) {
					w, h := size[0], size[1]
					p := randomImage(r, 20, 60, c)
					whole := resample(p, bicubicFilter, w, h, rect{w: w, h: h}, order)
					crop := rect{x: 2, y: 13, w: 5, h: 11}
					got := resample(p, bicubicFilter, w, h, crop, order)
					if want := whole.cropped(crop); got.w != 5 || got.h != 11 || !bytes.Equal(got.pix, want.pix) {
						t.Error("the crop differs from that of the whole image")
					}
				})
			}
		}
	}
}
