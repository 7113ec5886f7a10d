package data

import (
	"image/color"
	"slices"
	"testing"
)

func TestCommonSize(t *testing.T) {
	small, large, wide := pngOf(1, 1, color.White), pngOf(8, 8, color.White), pngOf(8, 4, color.White)
	for name, c := range map[string]struct {
		files  map[string][]byte
		want   SizeCount
		others []string
	}{
		"a stray first": {map[string][]byte{"a.png": small, "b.png": large, "c.png": large}, SizeCount{8, 8, 2}, []string{"a.png"}},
		"all alike":     {map[string][]byte{"a.png": wide, "b.png": wide}, SizeCount{8, 4, 2}, nil},
		"as many":       {map[string][]byte{"a.png": large, "b.png": small}, SizeCount{8, 8, 1}, []string{"b.png"}},
		"two strays":    {map[string][]byte{"a/a.png": wide, "b.png": large, "c.png": large, "d.png": small}, SizeCount{8, 8, 2}, []string{"a/a.png", "d.png"}},
		"one is bad":    {map[string][]byte{"a.png": []byte("text"), "b.png": large}, SizeCount{8, 8, 1}, nil},
	} {
		ds := open(t, folder(t, c.files), Options{MaxBadImages: 1})
		got, others, err := ds.CommonSize(t.Context())
		if err != nil || got != c.want || !slices.Equal(others, c.others) {
			t.Errorf("%s: %v, %q, %v, want %v, %q", name, got, others, err, c.want, c.others)
		}
	}
	arrays := open(t, "", Options{Limit: 3})
	if got, others, err := arrays.CommonSize(t.Context()); err != nil || got != (SizeCount{64, 64, 3}) || others != nil {
		t.Errorf("the built-in set: %v, %q, %v", got, others, err)
	}
}
