package diffusion

import (
	"fmt"
	"math"

	"github.com/wangkuiyi/gotorch"
)

// Guidance extrapolates the network's prediction away from that of a guide: it is
// (1-W) guide + W network, for predictions of epsilon or of x_0. Variances are the network's own.
// The guide is the network itself at the null class, which is classifier-free guidance (Ho &
// Salimans 2022, equation 6, with W = 1 + w), or another network, which is autoguidance (Karras et
// al. 2024).
type Guidance struct {
	Scale     float64  // W; 1: no guidance, 0: the guide alone
	NullClass int64    // label of the null class, if Guide is nil
	Guide     Denoiser // network of the same diffusion; nil: classifier-free guidance

	// The noise levels sigma = sqrt((1 - alphaBar) / alphaBar) with guidance: MinSigma < sigma <=
	// MaxSigma (Kynkaanniemi et al. 2024). MaxSigma 0: no upper limit. Other steps evaluate the
	// network alone.
	MinSigma, MaxSigma float64
}

func (g *Guidance) validate(cond Cond) error {
	switch {
	case g == nil:
		return nil
	case math.IsNaN(g.Scale) || math.IsInf(g.Scale, 0):
		return fmt.Errorf("guidance scale %v is not a number", g.Scale)
	case !(g.MinSigma >= 0) || !(g.MaxSigma == 0 || g.MaxSigma > g.MinSigma):
		return fmt.Errorf("guidance interval %v to %v: it must begin at 0 or more and end above its begin", g.MinSigma, g.MaxSigma)
	case g.Guide == nil && !cond.Y.Defined():
		return fmt.Errorf("classifier-free guidance needs class labels")
	}
	return nil
}

// guides reports whether the network is guided at t.
func (g Guidance) guides(s Schedule, t int) bool {
	sigma := s.Sigma(t)
	return g.Scale != 1 && sigma > g.MinSigma && (g.MaxSigma == 0 || sigma <= g.MaxSigma)
}

// CountGuided returns how many timesteps of a process are guided.
func (g Guidance) CountGuided(s Schedule) (n int) {
	for t := range s.NumTimesteps() {
		if g.guides(s, t) {
			n++
		}
	}
	return n
}

// Denoiser returns denoise with guidance at every timestep.
func (g Guidance) Denoiser(denoise Denoiser) Denoiser {
	return func(x, t gotorch.Tensor, cond Cond) gotorch.Tensor {
		own, guide := g.evaluate(denoise, x, t, cond)
		channels := x.Size(1)
		prediction := guide.Narrow(1, 0, channels).MulScalar(1-g.Scale).AddI(own.Narrow(1, 0, channels).MulScalar(g.Scale), 1)
		if rest := own.Size(1) - channels; rest > 0 {
			return gotorch.Cat([]gotorch.Tensor{prediction, own.Narrow(1, channels, rest)}, 1)
		}
		return prediction
	}
}

// evaluate returns the outputs of the network and of the guide, in float32. Where both are one
// network, they are one batch.
func (g Guidance) evaluate(denoise Denoiser, x, t gotorch.Tensor, cond Cond) (own, guide gotorch.Tensor) {
	if g.Guide != nil {
		return denoise(x, t, cond).CastTo(gotorch.Float), g.Guide(x, t, cond).CastTo(gotorch.Float)
	}
	null := gotorch.FullOn(x.Device(), gotorch.Long, float64(g.NullClass), x.Size(0))
	both := Cond{Y: gotorch.Cat([]gotorch.Tensor{cond.Y, null}, 0), LowRes: twice(cond.LowRes)}
	halves := denoise(twice(x), twice(t), both).CastTo(gotorch.Float).Chunk(2, 0)
	return halves[0], halves[1]
}

// twice repeats a batch [N, ...].
func twice(t gotorch.Tensor) gotorch.Tensor {
	if !t.Defined() {
		return t
	}
	return gotorch.Cat([]gotorch.Tensor{t, t}, 0)
}
