package diffusion

import (
	"testing"

	"github.com/wangkuiyi/gotorch"
)

// BenchmarkLosses times L_hybrid, forward and backward: the fused kernel and the
// reference implementation.
func BenchmarkLosses(b *testing.B) {
	d := process(b, Cosine, 1000, Objective{VarType: LearnedRange, LossType: RescaledMSE})
	at := d.At([]int64{0, 100, 200, 300, 400, 500, 600, 700})
	x, noise, out := images(8, 3, 64, 64).ChannelsLast(), normal(1, 8, 3, 64, 64), normal(2, 8, 6, 64, 64)
	out.SetRequiresGrad(true)
	for name, f := range map[string]func() gotorch.Tensor{
		"kernel": func() gotorch.Tensor { return d.TrainingLosses(echo(out), x, at, noise, Cond{}).Loss },
		"composed": func() gotorch.Tensor {
			mse, vb := composed(d, out, x, at, noise)
			return mse.Add(vb.MulScalar(1), 1)
		},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				gotorch.Scope(func() { f().Sum().Backward() })
			}
		})
	}
}
