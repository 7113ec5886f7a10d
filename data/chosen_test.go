package data

import (
	"errors"
	"slices"
	"testing"
)

// The images of some classes, with labels and without, by the set's own numbering and by a network's.
func TestChosenClasses(t *testing.T) {
	files := imagesOf("bird/0.png", "cat/1.png", "cat/2.png", "dog/3.png", "dog/4.png")
	files["bird/broken.png"] = []byte("not an image")
	for kind, path := range map[string]string{"folder": folder(t, files), "zip": zipped(t, files)} {
		for what, test := range map[string]struct {
			o      Options
			names  []string
			labels []int64
		}{
			"one":        {Options{Classes: []string{"cat"}}, nil, []int64{0, 0}},
			"labelled":   {Options{Classes: []string{"dog", "cat"}, ClassCond: true}, []string{"cat", "dog"}, []int64{0, 0, 1, 1}},
			"known":      {Options{Classes: []string{"cat", "dog"}, ClassCond: true, KnownClasses: []string{"dog", "cow", "cat"}}, []string{"dog", "cow", "cat"}, []int64{2, 2, 0, 0}},
			"with limit": {Options{Classes: []string{"cat", "dog"}, ClassCond: true, Limit: 2}, []string{"cat", "dog"}, []int64{0, 1}},
			"held out":   {Options{Classes: []string{"cat", "dog"}, ClassCond: true, HoldOut: 0.5, HeldOut: true}, []string{"cat", "dog"}, []int64{0, 1}},
		} {
			ds := open(t, path, test.o)
			if !slices.Equal(labels(ds), test.labels) || !slices.Equal(ds.ClassNames(), test.names) || ds.Len() != len(test.labels) {
				t.Errorf("%s, %s: labels %v of %v", kind, what, labels(ds), ds.ClassNames())
			}
			for i := range ds.Len() {
				if _, _, err := ds.Image(i); err != nil {
					t.Error(err)
				}
			}
		}
		if _, err := Open(path, Options{Classes: []string{"cat", "cow"}}); !errors.As(err, new(*UnknownChoiceError)) {
			t.Errorf("%s: a class that the set lacks: %v", kind, err)
		}
		known := Options{Classes: []string{"cat"}, ClassCond: true, KnownClasses: []string{"dog"}}
		if _, err := Open(path, known); !errors.As(err, new(*UnknownClassError)) {
			t.Errorf("%s: a class that the network lacks: %v", kind, err)
		}
		if all, some := open(t, path, Options{MaxBadImages: 1}), open(t, path, Options{Classes: []string{"cat"}}); all.Fingerprint() == some.Fingerprint() {
			t.Errorf("%s: the fingerprint is that of all images", kind)
		}
	}
}
