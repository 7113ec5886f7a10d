//go:build cuda

package evaluate_test

import (
	"math"
	"testing"

	"github.com/wangkuiyi/gotorch"

	"iddpm/evaluate"
	"iddpm/internal/madeup"
)

// TestCUDAEvaluate compares the features and metrics of the same images on the GPU and
// the CPU. It fails without a GPU: it is built only on request.
func TestCUDAEvaluate(t *testing.T) {
	const n, size = 8, 16
	if err := gotorch.LoadCUDA(); err != nil {
		t.Fatal(err)
	}
	before := gotorch.Configure(gotorch.Settings{TF32: gotorch.TF32Never})
	t.Cleanup(func() { gotorch.Configure(before) })
	type seen struct {
		features          []float32
		pool, spatial     evaluate.Statistics
		score             float64
		precision, recall float64
	}
	look := func(d gotorch.Device) (s seen) {
		gotorch.Run(func() {
			gotorch.Scope(func() {
				network, err := evaluate.New(weights(), d)
				if err != nil {
					t.Fatal(err)
				}
				defer network.Free()
				set := network.NewSet(n)
				if err := set.Add(madeup.Images("cuda", n, size), size); err != nil {
					t.Fatal(err)
				}
				s.pool, _ = set.Pool()
				s.spatial, _ = set.Spatial()
				s.features = set.Features().To(gotorch.Device{}).Float32s()
				s.score, _ = network.InceptionScore(set.Features())
				half := set.Features().Narrow(0, 0, n/2)
				if s.precision, s.recall, err = evaluate.PrecisionRecall(half, set.Features()); err != nil {
					t.Fatal(err)
				}
			})
		})
		return s
	}
	cpu, gpu := look(gotorch.Device{}), look(gotorch.Device{Type: gotorch.CUDA})
	off := 0.0
	for i, v := range cpu.features {
		off = max(off, math.Abs(float64(v-gpu.features[i])))
	}
	if !(off < 1e-2) {
		t.Errorf("the features are off by %g", off)
	}
	close(t, "the score", gpu.score, cpu.score, 1e-3)
	close(t, "precision", gpu.precision, cpu.precision, 0.13) // one of 8 may lie on a ball's edge
	close(t, "recall", gpu.recall, cpu.recall, 0.26)
	gotorch.Run(func() {
		for name, of := range map[string][2]evaluate.Statistics{"FID": {cpu.pool, gpu.pool}, "sFID": {cpu.spatial, gpu.spatial}} {
			close(t, name+" between the two", distance(t, of[0], of[1]), 0, 1e-2)
		}
	})
}
