package model

import (
	"math"

	"github.com/wangkuiyi/gotorch"
)

// TimestepEmbedding returns the sinusoidal embedding [N, dim] of timesteps [N],
// which may be fractional: cosines, then sines, of t / 10000^(k / (dim / 2)),
// and a zero column where dim is odd (Vaswani et al. 2017, as the reference
// arranges it).
func TimestepEmbedding(t gotorch.Tensor, dim int64) gotorch.Tensor {
	half := dim / 2
	device := t.Device()
	k := gotorch.ArangeOn(device, gotorch.Float, 0, float64(half), 1)
	// A product with 1 / half would round otherwise than the reference's quotient.
	frequencies := k.MulScalar(-math.Log(10000)).DivI(gotorch.FullOn(device, gotorch.Float, float64(half))).Exp()
	args := t.CastTo(gotorch.Float).Unsqueeze(1).Mul(frequencies.Unsqueeze(0))
	parts := []gotorch.Tensor{args.Cos(), args.Sin()}
	if dim%2 == 1 {
		parts = append(parts, gotorch.ZerosOn(device, gotorch.Float, t.Size(0), 1))
	}
	return gotorch.Cat(parts, 1)
}

// timeEmbed is the two-layer network on top of the timestep's embedding.
type timeEmbed struct {
	first, second *linear
	channels      int64
}

func newTimeEmbed(b builder, channels int) *timeEmbed {
	return &timeEmbed{
		first:    newLinear(b.at("0"), channels, 4*channels),
		second:   newLinear(b.at("2"), 4*channels, 4*channels),
		channels: int64(channels),
	}
}

// forward maps timesteps [N] to [N, 4 channels], in float32.
func (e *timeEmbed) forward(t gotorch.Tensor, p pass) gotorch.Tensor {
	return e.second.forward(e.first.forward(TimestepEmbedding(t, e.channels), p).Silu(), p)
}
