package diffusion

import (
	"context"
	"math"
	"slices"
	"testing"

	"github.com/wangkuiyi/gotorch"

	"iddpm/internal/golden"
)

// TestBPDSum compares two batches with one batch of all images.
func TestBPDSum(t *testing.T) {
	d := process(t, Cosine, 7, Objective{LossType: KL})
	network := gaussianData(d, 0.5)
	bound := func(x gotorch.Tensor, first int64) BPD {
		noise := NoiseSource{Seed: 3, FirstImage: first, Shape: x.Shape()}
		b, err := d.CalcBPD(context.Background(), network, x, Cond{}, BPDOptions{Noise: noise.At})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	gotorch.Scope(func() {
		x := images(5, 3, 4, 4)
		var batches BPDSum
		batches.Add(bound(x.Narrow(0, 0, 3), 0))
		batches.Add(bound(x.Narrow(0, 3, 2), 3))
		all := bound(x, 0)
		if batches.Len() != 5 {
			t.Fatalf("%d images, want 5", batches.Len())
		}
		golden.WithinRelative(t, "total", batches.Total, all.Total.Float64s(), 1e-6)
		golden.WithinRelative(t, "prior", batches.Prior, all.Prior.Float64s(), 1e-6)
		golden.WithinRelative(t, "decoder", batches.Decoder, all.VB.Select(1, 6).Float64s(), 1e-6)
		golden.WithinRelative(t, "vb", batches.Mean(batches.VB), all.VB.MeanDims(false, 0).Float64s(), 1e-6)
		golden.WithinRelative(t, "x_0", batches.Mean(batches.XStartMSE), all.XStartMSE.MeanDims(false, 0).Float64s(), 1e-6)
		golden.WithinRelative(t, "noise", batches.Mean(batches.EpsilonMSE), all.EpsilonMSE.MeanDims(false, 0).Float64s(), 1e-6)
	})
}

func TestMeanAndError(t *testing.T) {
	for _, test := range []struct {
		values       []float64
		mean, stderr float64
	}{
		{[]float64{2}, 2, 0},
		{[]float64{1, 3}, 2, 1},
		{[]float64{1, 2, 3, 6}, 3, math.Sqrt(14. / 3 / 4)},
	} {
		mean, stderr := MeanAndError(test.values)
		if got, want := []float64{mean, stderr}, []float64{test.mean, test.stderr}; !slices.Equal(got, want) {
			t.Errorf("%v: %v, want %v", test.values, got, want)
		}
	}
}
