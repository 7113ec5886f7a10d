package imaging

import (
	"image"
	"math/rand/v2"
	"testing"
)

func BenchmarkYCbCr(b *testing.B) {
	for _, ratio := range []image.YCbCrSubsampleRatio{image.YCbCrSubsampleRatio444, image.YCbCrSubsampleRatio422, image.YCbCrSubsampleRatio420} {
		b.Run(ratio.String(), func(b *testing.B) {
			img, m := image.NewYCbCr(image.Rect(0, 0, 500, 375), ratio), &Memory{}
			r := rand.New(rand.NewPCG(1, 2))
			for _, plane := range [][]byte{img.Y, img.Cb, img.Cr} {
				for i := range plane {
					plane[i] = byte(96 + r.IntN(64)) // colours of a photograph: no value is clipped
				}
			}
			for b.Loop() {
				fromYCbCr(m, img)
				m.Reset()
			}
		})
	}
}
