package data

import (
	"math"
	"slices"
	"strings"
	"testing"
)

// The training and held-out images are disjoint, and together are the whole set.
func TestHoldOut(t *testing.T) {
	open := func(fraction float64, only bool) *Dataset {
		t.Helper()
		d, err := Open("", Options{ImageSize: 8, HoldOut: fraction, HeldOut: only, CacheBytes: -1})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { d.Close() })
		return d
	}
	all := open(0, false)
	for _, fraction := range []float64{0.01, 0.1, 0.5, 0.9} {
		training, apart := open(fraction, false), open(fraction, true)
		seen := map[string]int{}
		for _, d := range []*Dataset{training, apart} {
			for i := range d.Len() {
				seen[d.ImageName(i)]++
			}
		}
		for i := range all.Len() {
			if n := seen[all.ImageName(i)]; n != 1 {
				t.Fatalf("fraction %g: %s is in %d parts", fraction, all.ImageName(i), n)
			}
		}
		if got, want := float64(apart.Len()), fraction*float64(all.Len()); math.Abs(got-want) > 1 {
			t.Errorf("fraction %g: %v of %d images are held out", fraction, got, all.Len())
		}
		if training.Fingerprint() == all.Fingerprint() {
			t.Errorf("fraction %g: the rest has the fingerprint of the whole", fraction)
		}
		if pixels, _, err := apart.Image(0); err != nil || len(pixels) != 8*8*3 {
			t.Errorf("fraction %g: %d bytes, %v", fraction, len(pixels), err)
		}
	}
}

func TestHoldOutRefuses(t *testing.T) {
	for _, o := range []Options{{HoldOut: 1}, {HoldOut: -0.1}, {HoldOut: math.NaN()}, {HeldOut: true}, {HoldOut: 1e-9}} {
		o.ImageSize = 8
		if d, err := Open("", o); err == nil || !strings.Contains(err.Error(), "fraction") {
			t.Errorf("%+v: %v, %v", o, d, err)
		}
	}
}

func TestLimit(t *testing.T) {
	names := func(o Options) (all []string) {
		t.Helper()
		o.ImageSize, o.CacheBytes = 8, -1
		d, err := Open("", o)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		for i := range d.Len() {
			all = append(all, d.ImageName(i))
		}
		return all
	}
	for _, o := range []Options{{}, {HoldOut: 0.5}} {
		all := names(o)
		for _, n := range []int{1, 7, len(all), len(all) + 1} {
			o.Limit = n
			got := names(o)
			if len(got) != min(n, len(all)) {
				t.Fatalf("limit %d keeps %d of %d", n, len(got), len(all))
			}
			for i, name := range got {
				if want := all[i*len(all)/len(got)]; name != want {
					t.Errorf("limit %d: image %d is %s, not %s", n, i, name, want)
				}
			}
		}
	}
}

func TestSpread(t *testing.T) {
	for _, c := range []struct {
		n, all int
		want   []int
	}{{1, 5, []int{0}}, {2, 5, []int{0, 2}}, {3, 10, []int{0, 3, 6}}, {4, 4, []int{0, 1, 2, 3}}} {
		var got []int
		for i := range c.n {
			got = append(got, Spread(i, c.n, c.all))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%d of %d are %v, want %v", c.n, c.all, got, c.want)
		}
	}
}

func TestImages(t *testing.T) {
	files := map[string][]byte{"a_1.png": numbered(1), "b_2.png": numbered(2), "b_3.png": numbered(3), "b_4.png": numbered(4)}
	for _, c := range []struct {
		limit  int
		first  []byte // value of each image
		labels []int64
	}{{0, []byte{1, 2, 3, 4}, []int64{0, 1, 1, 1}}, {2, []byte{1, 3}, []int64{0, 1}}} {
		ds := open(t, folder(t, files), Options{ImageSize: 4, ClassCond: true, Limit: c.limit})
		pixels, labels, err := ds.Images()
		if err != nil || len(pixels) != len(c.first)*4*4*3 || !slices.Equal(labels, c.labels) {
			t.Fatalf("limit %d: %d bytes, labels %v, %v", c.limit, len(pixels), labels, err)
		}
		for i, v := range c.first {
			if pixels[i*4*4*3] != v {
				t.Errorf("limit %d: image %d is %d, want %d", c.limit, i, pixels[i*4*4*3], v)
			}
		}
	}
	files["c_5.png"] = numbered(5)[:40]
	ds := open(t, folder(t, files), Options{ImageSize: 4, MaxBadImages: 1, CacheBytes: -1})
	if pixels, _, err := ds.Images(); err == nil || !strings.Contains(err.Error(), "c_5.png") {
		t.Errorf("%d bytes with one that cannot be read: %v", len(pixels), err)
	}
}
