package diffusion

import (
	"fmt"
	"math"
	"sort"
)

// TimestepSampler draws the timesteps to train on. It is deterministic: ranks that make
// the same calls stay in the same state.
type TimestepSampler interface {
	// Weights returns a positive weight per timestep, [T]; they need not sum to 1.
	Weights() []float64
	// Sample draws one timestep per uniform number u from (0, 1), in proportion to the
	// weights, and returns the importance weights 1/(T p(t)): with these factors the
	// expected loss equals that of uniform sampling.
	Sample(u []float64) (t []int64, factors []float64)
	// LossAware reports whether Update changes anything.
	LossAware() bool
	// Update records the unweighted losses, one per element of t. An error leaves the
	// sampler unchanged.
	Update(t []int64, losses []float64) error
	// State returns a copy of the sampler's state.
	State() SamplerState
	// SetState restores a state. An error leaves the sampler unchanged.
	SetState(s SamplerState) error
}

// SamplerState is the state of a TimestepSampler in a checkpoint. Both fields are
// empty for Uniform.
type SamplerState struct {
	LossHistory []float64 // [T x 10], the last losses of each timestep, oldest first
	LossCounts  []int64   // [T], how many losses each timestep has
}

// Uniform samples every timestep with the same probability.
type Uniform struct{ weights []float64 }

// NewUniform returns a Uniform over numTimesteps timesteps.
func NewUniform(numTimesteps int) *Uniform { return &Uniform{ones(numTimesteps)} }

// Weights returns ones.
func (s *Uniform) Weights() []float64 { return s.weights }

// Sample draws timesteps; the importance weights are all 1.
func (s *Uniform) Sample(u []float64) ([]int64, []float64) { return sampleTimesteps(s.weights, u) }

// LossAware returns false.
func (s *Uniform) LossAware() bool { return false }

// Update does nothing.
func (s *Uniform) Update([]int64, []float64) error { return nil }

// State returns an empty state.
func (s *Uniform) State() SamplerState { return SamplerState{} }

// SetState accepts an empty state only.
func (s *Uniform) SetState(state SamplerState) error {
	if len(state.LossHistory)+len(state.LossCounts) > 0 {
		return fmt.Errorf("cannot restore the state of a loss-second-moment sampler into a uniform one: use the schedule_sampler of the checkpoint")
	}
	return nil
}

// The constants of section 3.3 of the paper.
const (
	historyPerTerm = 10    // losses kept per timestep
	uniformProb    = 0.001 // probability of sampling uniformly
)

// LossSecondMoment samples timesteps in proportion to the root mean square of their
// last ten losses, which reduces the variance of the estimate of L_vlb: equation 18.
// Until every timestep has ten losses it samples uniformly.
type LossSecondMoment struct {
	lossHistory []float64 // [T x historyPerTerm]
	lossCounts  []int64   // [T]
	notWarmedUp int       // number of timesteps whose history is not full
}

// NewLossSecondMoment returns a LossSecondMoment over numTimesteps timesteps.
func NewLossSecondMoment(numTimesteps int) *LossSecondMoment {
	return &LossSecondMoment{make([]float64, numTimesteps*historyPerTerm), make([]int64, numTimesteps), numTimesteps}
}

// Weights returns the probability of every timestep, or ones until every history is
// full.
func (s *LossSecondMoment) Weights() []float64 {
	weights := ones(len(s.lossCounts))
	if s.notWarmedUp > 0 {
		return weights
	}
	total := 0.0
	for t := range weights {
		squares := 0.0
		for _, loss := range s.historyOf(int64(t)) {
			squares += loss * loss
		}
		weights[t] = math.Sqrt(squares / historyPerTerm)
		total += weights[t]
	}
	for t := range weights {
		if total > 0 { // if all losses are zero, only the uniform part remains
			weights[t] /= total
		}
		weights[t] = weights[t]*(1-uniformProb) + uniformProb/float64(len(weights))
	}
	return weights
}

// Sample draws timesteps.
func (s *LossSecondMoment) Sample(u []float64) ([]int64, []float64) {
	return sampleTimesteps(s.Weights(), u)
}

// LossAware returns true.
func (s *LossSecondMoment) LossAware() bool { return true }

// Update appends losses, dropping the oldest of a full history. A non-finite loss is an
// error: it would make all weights non-finite.
func (s *LossSecondMoment) Update(t []int64, losses []float64) error {
	if len(t) != len(losses) {
		return fmt.Errorf("%d losses for %d steps", len(losses), len(t))
	}
	for i, step := range t {
		if step < 0 || step >= int64(len(s.lossCounts)) {
			return fmt.Errorf("step %d is not one of 0 to %d", step, len(s.lossCounts)-1)
		}
		if math.IsNaN(losses[i]) || math.IsInf(losses[i], 0) {
			return fmt.Errorf("the loss at step %d is %v: the timestep sampler needs finite losses", step, losses[i])
		}
	}
	for i, step := range t {
		s.push(step, losses[i])
	}
	return nil
}

func (s *LossSecondMoment) push(t int64, loss float64) {
	history := s.historyOf(t)
	if s.lossCounts[t] == historyPerTerm {
		copy(history, history[1:])
		history[historyPerTerm-1] = loss
		return
	}
	history[s.lossCounts[t]] = loss
	s.lossCounts[t]++
	if s.lossCounts[t] == historyPerTerm {
		s.notWarmedUp--
	}
}

// historyOf returns the history of timestep t.
func (s *LossSecondMoment) historyOf(t int64) []float64 {
	return s.lossHistory[t*historyPerTerm : (t+1)*historyPerTerm]
}

// State returns a copy of the histories.
func (s *LossSecondMoment) State() SamplerState {
	return SamplerState{append([]float64(nil), s.lossHistory...), append([]int64(nil), s.lossCounts...)}
}

// SetState replaces the histories.
func (s *LossSecondMoment) SetState(state SamplerState) error {
	if len(state.LossCounts) != len(s.lossCounts) || len(state.LossHistory) != len(s.lossHistory) {
		return fmt.Errorf("the state has %d steps and %d losses, this sampler %d steps with %d losses each", len(state.LossCounts), len(state.LossHistory), len(s.lossCounts), historyPerTerm)
	}
	notWarmedUp := 0
	for t, n := range state.LossCounts {
		if n < 0 || n > historyPerTerm {
			return fmt.Errorf("loss_counts[%d] is %d: it must be 0 to %d", t, n, historyPerTerm)
		}
		if n < historyPerTerm {
			notWarmedUp++
		}
	}
	for i, loss := range state.LossHistory {
		if math.IsNaN(loss) || math.IsInf(loss, 0) {
			return fmt.Errorf("loss_history[%d] is %v: it must be finite", i, loss)
		}
	}
	copy(s.lossHistory, state.LossHistory)
	copy(s.lossCounts, state.LossCounts)
	s.notWarmedUp = notWarmedUp
	return nil
}

// sampleTimesteps inverts the cumulative distribution of the weights at every u.
func sampleTimesteps(weights, u []float64) (t []int64, factors []float64) {
	cumulative := make([]float64, len(weights))
	total := 0.0
	for i, w := range weights {
		total += w
		cumulative[i] = total
	}
	t, factors = make([]int64, len(u)), make([]float64, len(u))
	for i, v := range u {
		at := sort.Search(len(weights)-1, func(k int) bool { return cumulative[k] > v*total })
		t[i] = int64(at)
		factors[i] = total / (float64(len(weights)) * weights[at])
	}
	return t, factors
}

func ones(n int) []float64 {
	v := make([]float64, n)
	for i := range v {
		v[i] = 1
	}
	return v
}
