package data

import (
	"image"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// BenchmarkLoader reads the emoji set (64-pixel png) and a jpeg of
// testdata/pillow, decoded each time and from the cache; IDDPM_BENCH_DATA names
// another set.
func BenchmarkLoader(b *testing.B) {
	jpeg := filepath.Join("testdata", "pillow", "rgb_420.jpg")
	file, err := os.ReadFile(jpeg)
	if err != nil {
		b.Fatal(err)
	}
	sets := map[string]string{"png64": "", "jpeg101x75": folder(b, map[string][]byte{"a.jpg": file})}
	if path := os.Getenv("IDDPM_BENCH_DATA"); path != "" {
		sets["given"] = path
	}
	for name, path := range sets {
		for how, bytes := range map[string]int64{"decoded": -1, "cached": 0} {
			b.Run(name+"/"+how, func(b *testing.B) { benchmarkLoader(b, path, bytes) })
		}
	}
}

func benchmarkLoader(b *testing.B, path string, cacheBytes int64) {
	ds := open(b, path, Options{CacheBytes: cacheBytes})
	const batch = 64
	l, err := NewLoader(ds, LoaderOptions{BatchSize: batch})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	next := func() {
		got, err := l.Next(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		l.Recycle(got)
	}
	for range 2 + ds.Len()/batch { // fills the cache
		next()
	}
	b.ReportAllocs()
	for b.Loop() {
		next()
	}
	b.ReportMetric(float64(batch*b.N)/b.Elapsed().Seconds(), "images/s")
}

func BenchmarkYCbCr(b *testing.B) {
	for _, ratio := range []image.YCbCrSubsampleRatio{image.YCbCrSubsampleRatio444, image.YCbCrSubsampleRatio422, image.YCbCrSubsampleRatio420} {
		b.Run(ratio.String(), func(b *testing.B) {
			img, m := image.NewYCbCr(image.Rect(0, 0, 500, 375), ratio), &memory{}
			r := rand.New(rand.NewPCG(1, 2))
			for _, plane := range [][]byte{img.Y, img.Cb, img.Cr} {
				for i := range plane {
					plane[i] = byte(96 + r.IntN(64)) // colours that a photograph has: nothing is clipped
				}
			}
			for b.Loop() {
				fromYCbCr(m, img)
				m.reset()
			}
		})
	}
}
