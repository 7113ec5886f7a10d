package engine

import (
	"maps"
	"slices"
	"sync/atomic"

	"github.com/wangkuiyi/gotorch"

	"iddpm/diffusion"
	"iddpm/model"
	"iddpm/train/posthoc"
)

// core is what a step on the device uses and changes.
type core struct {
	options   Options
	precision Precision
	health    Health
	phase     phase

	network   Network
	diffusion *diffusion.GaussianDiffusion
	optimizer gotorch.Optimizer
	ema       [][]gotorch.Tensor                  // per decay rate and then per power-function EMA, per parameter
	gammas    []float64                           // of the power-function EMAs: see posthoc.Gamma
	working   map[*model.Parameter]gotorch.Tensor // see syncWorkingWeights
}

// Health counts non-finite steps and holds the loss scale.
type Health struct {
	Attempt       int     // rollbacks so far; it changes the seed, so that the same NaN does not recur
	Skipped       int     // total steps whose loss or gradient was not finite
	SkippedInARow int     // such steps since the last finite one
	Log2LossScale float64 // fp16: log2 of the loss scale
}

// InitialHealth is the health before the first step. The loss scale is the reference's.
func InitialHealth() Health { return Health{Log2LossScale: 20} }

// phase is what the tensor thread is doing to the engine's state.
type phase struct{ atomic.Int32 }

const (
	betweenSteps = iota // not in a step, or preparing one
	computing           // forward and backward pass: the state is still that before the step
	updating            // changing weights, EMA weights and optimizer state
	abandoned           // the running step must not update the state
)

// beginUpdate reports whether the step may change the state. An abandoned step may not.
func (p *phase) beginUpdate() bool { return p.CompareAndSwap(computing, updating) }

// seed returns the seed of the current attempt.
func (c *core) seed() uint64 {
	const odd = 0x9e3779b97f4a7c15 // keeps the attempts' seeds away from the user's next seeds
	return c.options.Seed + uint64(c.health.Attempt)*odd
}

// first returns the index in the global batch of this process's first image.
func (c *core) first() int { return c.options.Group.Rank() * c.options.LocalBatch() }

// build initialises the weights and makes the optimizer and the EMA weights.
func (c *core) build() error {
	o := c.options
	var err error
	if c.diffusion, err = diffusion.New(o.Diffusion, o.Device); err != nil {
		return err
	}
	if c.network, err = o.newNetwork(c.seed()); err != nil {
		return err
	}
	c.network.To(o.Device)
	c.network.SetRequiresGrad(true)
	c.optimizer = gotorch.AdamW(gotorch.AdamWOptions{LR: o.learningRate(0), WeightDecay: o.WeightDecay})
	c.optimizer.AddParameters(c.network.Tensors())
	c.optimizer.State() // allocates the moments now: within the first step they would fragment the allocator's memory
	for _, rate := range o.EMARates {
		average := c.addEMA()
		if !o.EMAWarmup {
			c.optimizer.AddEMA(gotorch.EMA{Rate: rate, Tensors: average})
		}
	}
	for _, length := range o.PowerEMAs {
		gamma, err := posthoc.Gamma(length)
		if err != nil {
			return err
		}
		c.gammas = append(c.gammas, gamma)
		c.addEMA()
	}
	return nil
}

// addEMA adds an EMA that starts as a copy of the weights.
func (c *core) addEMA() []gotorch.Tensor {
	average := make([]gotorch.Tensor, 0, len(c.network.Parameters()))
	for _, p := range c.network.Tensors() {
		average = append(average, p.Detach().Clone())
	}
	c.ema = append(c.ema, average)
	return average
}

// syncWorkingWeights makes the bfloat16 working weights, or copies changed master weights to
// them. The network computes with them and the optimizer updates them, so that a step casts
// no weights. Gradients are cast when they are accumulated. In float16 each forward pass
// casts the weights.
func (c *core) syncWorkingWeights() {
	if !c.precision.hasWorkingWeights() {
		return
	}
	if c.working != nil {
		gotorch.NoGrad(func() {
			for p, w := range c.working {
				w.CopyI(p.Tensor)
			}
		})
		return
	}
	c.working = c.network.WorkingWeights(c.precision.Dtype)
	list := make([]gotorch.Tensor, 0, len(c.network.Parameters()))
	for _, p := range c.network.Parameters() {
		list = append(list, c.working[p])
	}
	c.optimizer.SetWorkingWeights(list)
}

// newGraph returns a graph of work, which a GPU captures unless CUDA graphs are disabled.
func (c *core) newGraph(work func()) *gotorch.Graph {
	g := gotorch.NewGraph(c.options.Device, work)
	g.Eager = c.options.NoCUDAGraphs
	return g
}

func (c *core) free() {
	for _, x := range slices.Collect(maps.Values(c.working)) {
		x.Free()
	}
	c.network.Free()
	c.optimizer.Close()
	for _, average := range c.ema {
		for _, x := range average {
			x.Free()
		}
	}
}
