package model

import (
	"math"

	"github.com/wangkuiyi/gotorch"
)

// TimestepEmbedding returns the sinusoidal embedding [N, dim] of timesteps [N], which
// may be fractional: cosines, then sines, of t / 10000^(k / (dim / 2 - shift)), then a zero
// column if dim is odd. The shift is 0 in the reference; with 1 the last frequency is 1/10000,
// as in Vaswani et al. 2017 and in Ho et al. 2020.
func TimestepEmbedding(t gotorch.Tensor, dim int64, shift float64) gotorch.Tensor {
	half := dim / 2
	device := t.Device()
	k := gotorch.ArangeOn(device, gotorch.Float, 0, float64(half), 1)
	// The reference divides: multiplying by 1 / half rounds differently.
	frequencies := k.MulScalar(-math.Log(10000)).DivI(gotorch.FullOn(device, gotorch.Float, float64(half)-shift)).Exp()
	args := t.CastTo(gotorch.Float).Unsqueeze(1).Mul(frequencies.Unsqueeze(0))
	parts := []gotorch.Tensor{args.Cos(), args.Sin()}
	if dim%2 == 1 {
		parts = append(parts, gotorch.ZerosOn(device, gotorch.Float, t.Size(0), 1))
	}
	return gotorch.Cat(parts, 1)
}

// timeEmbed is the two-layer MLP on the timestep embedding.
type timeEmbed struct {
	first, second *linear
	channels      int64
	shift         float64
}

func newTimeEmbed(b builder, u UNetConfig) *timeEmbed {
	channels := u.ModelChannels
	return &timeEmbed{
		first:    newLinear(b.at("0"), channels, 4*channels),
		second:   newLinear(b.at("2"), 4*channels, 4*channels),
		channels: int64(channels),
		shift:    u.FreqShift,
	}
}

// forward maps timesteps [N] to [N, 4 channels], in float32.
func (e *timeEmbed) forward(t gotorch.Tensor, p pass) gotorch.Tensor {
	return e.second.forward(e.first.forward(TimestepEmbedding(t, e.channels, e.shift), p).Silu(), p)
}
