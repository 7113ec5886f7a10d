package imaging

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
)

// randomImage returns an image of random bytes.
func randomImage(r *rand.Rand, w, h, c int) Image {
	p := newImage(nil, w, h, c)
	for i := range p.pix {
		p.pix[i] = byte(r.Uint32())
	}
	return p
}

// horizontalFirst is Pillow's order before its version 13.
func horizontalFirst(Image, int, int) bool { return false }

func alwaysVerticalFirst(Image, int, int) bool { return true }

// TestHalve compares the specialised code with the general filter, which TestPillow and
// TestGoldenImages compare with Pillow.
func TestHalve(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	orders := map[string]passOrder{"vertical": alwaysVerticalFirst, "horizontal": horizontalFirst, "pillow": verticalFirst}
	for _, size := range [][2]int{{2, 2}, {3, 2}, {2, 3}, {3, 3}, {4, 4}, {5, 4}, {16, 9}, {17, 8}, {62, 31}, {101, 75}, {500, 375}, {128, 6}, {6, 128}, {7, 128}, {6, 127}, {7, 127}} {
		for _, c := range []int{1, 3, 4} {
			for name, order := range orders {
				t.Run(fmt.Sprintf("%dx%dx%d/%s", size[0], size[1], c, name), func(t *testing.T) {
					p := randomImage(r, size[0], size[1], c)
					w, h := p.w/2, p.h/2
					want := resample(p, boxFilter, w, h, rect{w: w, h: h}, order)
					if got := halve(p, order); got.w != w || got.h != h || got.c != c || !bytes.Equal(got.pix, want.pix) {
						t.Errorf("halving by pairs differs from the box filter")
					}
				})
			}
		}
	}
}

func BenchmarkHalve(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, size := range [][2]int{{500, 375}, {500, 374}, {499, 375}, {375, 800}} {
		b.Run(fmt.Sprintf("%dx%d", size[0], size[1]), func(b *testing.B) {
			p, m := randomImage(r, size[0], size[1], 3), &Memory{}
			for b.Loop() {
				p.memory = m
				halve(p, verticalFirst)
				m.Reset()
			}
		})
	}
}
