package inference

import "github.com/wangkuiyi/gotorch"

// Progress says how far a task is, after a step of the network's.
type Progress struct {
	Step, Steps   int // steps done by this process, of all batches, and how many there are
	Images, Count int // images done by all processes, and how many there are

	First      int            // position in the task of the batch's first image, from 0
	T          int            // the timestep of the step, of the (respaced) process
	Timesteps  int            // how many timesteps the process has
	PredXStart gotorch.Tensor // predicted x_0 of the batch, [N, C, H, W], until the callback returns; undefined for the likelihood
}

// counter calls a progress callback.
type counter struct {
	callback func(Progress) error // may be nil
	count    int                  // images
	perRound int                  // images in a batch of each process
	perBatch int                  // steps
	steps    int                  // done
}

// rounds returns how many batches each process has.
func (c *counter) rounds() int { return (c.count + c.perRound - 1) / c.perRound }

// step returns the callback of a loop over the timesteps of one batch, or nil.
func (c *counter) step(first, timesteps int) func(t int, predXStart gotorch.Tensor) error {
	if c.callback == nil {
		return nil
	}
	return func(t int, predXStart gotorch.Tensor) error {
		c.steps++
		return c.callback(Progress{
			Step: c.steps, Steps: c.rounds() * c.perBatch, Images: min(c.steps/c.perBatch*c.perRound, c.count), Count: c.count,
			First: first, T: t, Timesteps: timesteps, PredXStart: predXStart,
		})
	}
}
