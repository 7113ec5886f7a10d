package data

import (
	"os"
	"testing"
)

// BenchmarkLoader reads the emoji set (64-pixel png) and a jpeg of
// imaging/testdata/pillow, decoded each time and from the cache; IDDPM_BENCH_DATA names
// another set.
func BenchmarkLoader(b *testing.B) {
	sets := map[string]string{"png64": "", "jpeg101x75": folder(b, map[string][]byte{"a.jpg": jpegFile(b, "rgb_420.jpg")})}
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
