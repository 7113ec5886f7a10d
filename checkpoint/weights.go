package checkpoint

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/wangkuiyi/gotorch/pt"

	"iddpm/runconfig"
)

// Weights are one of a checkpoint's sets of weights.
type Weights struct {
	Rate       string   // name of the EMA in the checkpoint: its decay rate, or power-LENGTH; or [RawWeights]
	Name       string   // for logs: "EMA 0.9999", or "of the last step"
	Dict       *pt.Dict // tensors by parameter name
	Reason     string   // why these are the default, if that may surprise; else empty
	PassedOver string   // decay rate of the EMA that is not the default yet; empty: none
}

// Weights returns the weights that ema names: the decay rate of an EMA, "none" for the
// raw weights, or "" for the default. By default they are the EMA of the highest rate,
// or the raw weights if there is none, or while that EMA is mostly initial weights: see [defaultEMA].
func (c *Checkpoint) Weights(ema string) (Weights, error) {
	if c.Exported != "" {
		return c.exportedWeights(ema)
	}
	w := Weights{Rate: RawWeights, Name: weightsName(RawWeights), Dict: c.Model}
	switch {
	case ema == RawWeights && c.raw != nil:
		w.Dict = c.raw
		return w, nil
	case ema == RawWeights:
		return w, nil
	case ema != "":
		w.Rate = c.spelling(ema)
	case c.Taken != "":
		w.Name = "of " + c.Taken
	case c.Bare:
		w.Reason = mostlyInitialFile(c.Path)
	default:
		w.Rate, w.PassedOver, w.Reason = defaultEMA(slices.Collect(c.rates()), c.Config.Train.EMAWarmup, c.Step)
	}
	if w.Rate == "" {
		return Weights{}, fmt.Errorf("%s holds no EMA of decay rate %s: it holds %v, and none for the raw weights", c.Path, ema, slices.Sorted(c.rates()))
	}
	if w.Rate != RawWeights {
		w.Name, w.Dict = weightsName(w.Rate), c.EMA[w.Rate]
	}
	return w, nil
}

// spelling returns the key of the EMA of that name, or whose decay rate equals rate as a number,
// or "".
func (c *Checkpoint) spelling(rate string) string {
	if c.EMA[rate] != nil {
		return rate
	}
	for _, key := range slices.Sorted(c.rates()) {
		if sameRate(rate, key) {
			return key
		}
	}
	return ""
}

// defaultEMA returns which of the EMAs of the given decay rates is used by default at a
// step: that of the highest rate, or [RawWeights] while that EMA is mostly initial weights.
// An EMA starts as a copy of the initial weights, whose coefficient after n steps is rate^n:
// while that is above one half, samples are mostly noise. passedOver is the rate of such
// an EMA, and reason explains it.
func defaultEMA(rates []string, warmup bool, step int) (rate, passedOver, reason string) {
	best := -1.0
	for _, key := range slices.Sorted(slices.Values(rates)) {
		if r, err := strconv.ParseFloat(key, 64); err == nil && r > best {
			rate, best = key, r
		}
	}
	if rate == "" {
		return RawWeights, "", ""
	}
	if reason := mostlyInitial(rate, best, warmup, step); reason != "" {
		return RawWeights, rate, reason
	}
	return rate, "", ""
}

// mostlyInitial returns an explanation if the initial weights are more than half of an EMA
// at a step, and else "". With warmup the first update leaves at most 2/11 of them, see
// [engine.EMADecay].
func mostlyInitial(name string, rate float64, warmup bool, step int) string {
	initial, until := math.Pow(rate, float64(step)), max(1, math.Ceil(math.Log(0.5)/math.Log(rate)))
	if warmup {
		until = 1
	}
	if !(initial > 0.5) || warmup && step > 0 {
		return ""
	}
	return fmt.Sprintf("at step %d, EMA %s is still %.4g %% initial weights, and falls to half at step %.0f", step, name, 100*initial, until)
}

// mostlyInitialFile is [mostlyInitial] for a file with the reference's name of an EMA, such
// as ema_0.9999_010000.pt.
func mostlyInitialFile(path string) string {
	m := referenceEMAName.FindStringSubmatch(filepath.Base(path))
	if m == nil {
		return ""
	}
	rate, rateErr := strconv.ParseFloat(m[1], 64)
	step, stepErr := strconv.Atoi(m[2])
	if rateErr != nil || stepErr != nil {
		return ""
	}
	if reason := mostlyInitial(m[1], rate, false, step); reason != "" {
		return fmt.Sprintf("%s; model%s.pt holds the raw weights", reason, m[2])
	}
	return ""
}

// DefaultWeights returns the weights that are used by default at a step: an index into
// EMARates and the name of that EMA, or -1 and "of the last step", with
// the reason if an EMA is passed over.
func DefaultWeights(o runconfig.Options, step int) (index int, w Weights) {
	keys := make([]string, len(o.EMARates))
	for i, rate := range o.EMARates {
		keys[i] = emaKey(rate)
	}
	w.Rate, w.PassedOver, w.Reason = defaultEMA(keys, o.EMAWarmup, step)
	w.Name = weightsName(w.Rate)
	return slices.Index(keys, w.Rate), w
}

// exportedWeights is [Checkpoint.Weights] of a file with one set of weights.
func (c *Checkpoint) exportedWeights(ema string) (Weights, error) {
	w := Weights{Rate: c.Exported, Name: weightsName(c.Exported), Dict: c.Model}
	if ema != "" && ema != w.Rate && !sameRate(ema, w.Rate) {
		return Weights{}, fmt.Errorf("%s holds only the weights that were exported (%s), not those of %s", c.Path, w.Name, ema)
	}
	return w, nil
}

// sameRate reports whether two texts are the same decay rate.
func sameRate(a, b string) bool {
	x, errX := strconv.ParseFloat(a, 64)
	y, errY := strconv.ParseFloat(b, 64)
	return errX == nil && errY == nil && x == y
}
