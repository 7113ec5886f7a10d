package diffusion

import (
	"fmt"
	"math"
	"sort"
)

// TimestepSampler draws the steps to train on. Its results depend on its
// arguments alone, so that ranks which call it alike stay alike.
type TimestepSampler interface {
	// Weights returns a positive weight per step, [T]; they need not sum to 1.
	Weights() []float64
	// Sample draws one step per uniform number u from (0, 1), in proportion to
	// the weights, and the factors 1/(T p(t)) that keep the loss's mean what it is
	// under uniform steps.
	Sample(u []float64) (t []int64, factors []float64)
	// LossAware reports whether Update changes anything.
	LossAware() bool
	// Update learns from the losses, one per step of t and unweighted. An error
	// leaves the sampler as it was.
	Update(t []int64, losses []float64) error
	// State returns all that the sampler has learnt.
	State() SamplerState
	// SetState restores what State returned. An error leaves the sampler as
	// it was.
	SetState(s SamplerState) error
}

// SamplerState is what a checkpoint keeps of a TimestepSampler; both are empty
// for Uniform.
type SamplerState struct {
	LossHistory []float64 // [T x 10], each step's last losses, oldest first
	LossCounts  []int64   // [T], how many of those are there
}

// Uniform draws every step alike.
type Uniform struct{ weights []float64 }

// NewUniform returns a Uniform over numTimesteps steps.
func NewUniform(numTimesteps int) *Uniform { return &Uniform{ones(numTimesteps)} }

// Weights returns ones.
func (s *Uniform) Weights() []float64 { return s.weights }

// Sample draws steps; the factors are all 1.
func (s *Uniform) Sample(u []float64) ([]int64, []float64) { return sampleTimesteps(s.weights, u) }

// LossAware returns false.
func (s *Uniform) LossAware() bool { return false }

// Update does nothing.
func (s *Uniform) Update([]int64, []float64) error { return nil }

// State returns an empty state.
func (s *Uniform) State() SamplerState { return SamplerState{} }

// SetState takes an empty state and refuses another sampler's.
func (s *Uniform) SetState(state SamplerState) error {
	if len(state.LossHistory)+len(state.LossCounts) > 0 {
		return fmt.Errorf("the state of a loss-second-moment sampler does not fit a uniform one: choose the schedule_sampler that the state came from")
	}
	return nil
}

// The numbers of section 3.3 of the paper, which calls them enough.
const (
	historyPerTerm = 10    // losses remembered per step
	uniformProb    = 0.001 // share of the draws that is uniform
)

// LossSecondMoment draws steps in proportion to the root mean square of their
// last ten losses, equation 18, which lowers the variance of L_vlb's estimate.
// Until every step has ten it draws them alike.
type LossSecondMoment struct {
	lossHistory []float64 // [T x historyPerTerm]
	lossCounts  []int64   // [T]
	notWarmedUp int       // steps whose history is not full
}

// NewLossSecondMoment returns a LossSecondMoment over numTimesteps steps.
func NewLossSecondMoment(numTimesteps int) *LossSecondMoment {
	return &LossSecondMoment{make([]float64, numTimesteps*historyPerTerm), make([]int64, numTimesteps), numTimesteps}
}

// Weights returns the probability of every step, or ones before every history is
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
		if total > 0 { // a loss that is zero everywhere leaves the uniform share alone
			weights[t] /= total
		}
		weights[t] = weights[t]*(1-uniformProb) + uniformProb/float64(len(weights))
	}
	return weights
}

// Sample draws steps.
func (s *LossSecondMoment) Sample(u []float64) ([]int64, []float64) {
	return sampleTimesteps(s.Weights(), u)
}

// LossAware returns true.
func (s *LossSecondMoment) LossAware() bool { return true }

// Update remembers losses, forgetting the oldest of a full history. A loss that
// is not finite is refused: it would spoil the weights of all steps for good.
func (s *LossSecondMoment) Update(t []int64, losses []float64) error {
	if len(t) != len(losses) {
		return fmt.Errorf("%d losses for %d steps", len(losses), len(t))
	}
	for i, step := range t {
		if step < 0 || step >= int64(len(s.lossCounts)) {
			return fmt.Errorf("step %d is not one of 0 to %d", step, len(s.lossCounts)-1)
		}
		if math.IsNaN(losses[i]) || math.IsInf(losses[i], 0) {
			return fmt.Errorf("the loss at step %d is %v: the timestep sampler cannot learn from it", step, losses[i])
		}
	}
	for i, step := range t {
		s.remember(step, losses[i])
	}
	return nil
}

func (s *LossSecondMoment) remember(t int64, loss float64) {
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

// historyOf returns the history of step t.
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
		return fmt.Errorf("the state is for %d steps with %d losses in all, this sampler has %d steps with %d each", len(state.LossCounts), len(state.LossHistory), len(s.lossCounts), historyPerTerm)
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

// sampleTimesteps inverts the weights' cumulative distribution at every u.
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
