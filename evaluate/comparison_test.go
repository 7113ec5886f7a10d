package evaluate_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"

	"iddpm/evaluate"
	"iddpm/internal/madeup"
)

// A comparison has the FID or KID of the sets, also after the reference's features are freed.
func TestComparison(t *testing.T) {
	const n, size = 18, 8
	onTensorThread(t, func(network *evaluate.Inception) {
		all := network.NewSet(n)
		defer all.Free()
		var steps []int
		if err := all.AddAll(t.Context(), madeup.Images("set", n, size), size, func(done int) { steps = append(steps, done) }); err != nil {
			t.Fatal(err)
		}
		if all.Len() != n || !slices.Equal(steps, []int{0, 16}) {
			t.Errorf("%d images, in batches from %v", all.Len(), steps)
		}
		reference := network.NewSet(5)
		if err := reference.AddAll(t.Context(), madeup.Images("other", 5, size), size, nil); err != nil {
			t.Fatal(err)
		}
		kid, err := evaluate.KernelInceptionDistance(t.Context(), all.Features(), reference.Features())
		if err != nil {
			t.Fatal(err)
		}
		byFID, err := evaluate.CompareByFID(reference)
		if err != nil {
			t.Fatal(err)
		}
		byKID := evaluate.CompareByKID(reference)
		defer byKID.Free()
		reference.Free()
		if d, stdErr, err := byKID.Distance(t.Context(), all); d != kid.Mean || stdErr != kid.StdErr || err != nil {
			t.Errorf("KID %g ± %g, %v; want %g ± %g", d, stdErr, err, kid.Mean, kid.StdErr)
		}
		ended, end := context.WithCancel(t.Context())
		end()
		for _, c := range []*evaluate.Comparison{byFID, byKID} {
			if _, _, err := c.Distance(ended, all); !errors.Is(err, context.Canceled) {
				t.Errorf("after an interrupt: %v", err)
			}
		}
		if err := all.AddAll(ended, make([]byte, 3*size*size), size, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("after an interrupt: %v", err)
		}
		if d, stdErr, err := byFID.Distance(t.Context(), all); !(d > 0) || math.IsInf(d, 0) || stdErr != 0 || err != nil {
			t.Errorf("FID %g ± %g, %v", d, stdErr, err)
		}
		one := network.NewSet(1)
		defer one.Free()
		if _, err := evaluate.CompareByFID(one); err == nil {
			t.Error("a reference without images has statistics")
		}
	})
}
