package checkpoint

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/wangkuiyi/gotorch"
	"github.com/wangkuiyi/gotorch/pt"

	"iddpm/runconfig"
	"iddpm/train/engine"
)

// State is what a checkpoint is made from.
type State struct {
	Config      runconfig.Config
	Engine      *engine.Engine
	Data        Dataset
	Position    int64             // images consumed from the data
	Environment map[string]string // what the results depend on, bit for bit, in addition to Config
}

// Dataset describes the images of a run.
type Dataset interface {
	Name() string
	Fingerprint() string  // equal for equal images
	ClassNames() []string // by label; empty without classes
	ClassCounts() []int   // by label
}

// Pack copies the whole state to host memory, in the layout of the file. It must run on the tensor
// thread, as must PackSnapshot.
func (s State) Pack() (*pt.Dict, error) {
	config, err := json.Marshal(s.Config)
	if err != nil {
		return nil, err
	}
	state, network := s.Engine.State(), s.Engine.Network()
	averages := new(pt.Dict)
	for i, key := range emaKeys(s.Engine.Options()) {
		averages.Set(key, network.PackStateDict(state.EMA[i]))
	}
	environment := new(pt.Dict)
	for _, key := range slices.Sorted(maps.Keys(s.Environment)) { // equal states give equal files
		environment.Set(key, s.Environment[key])
	}
	return dictOf(
		"format", int64(formatVersion),
		"config", string(config),
		"step", int64(state.Step),
		"model", network.StateDict(),
		"ema", averages,
		"optimizer", packOptimizer(s.Config.Train, state),
		"timestep_sampler", packSampler(state.Sampler),
		"data", packData(s.Data, s.Position),
		"rng", dictOf("seed", strconv.FormatUint(s.Config.Train.Seed, 10)),
		"health", packHealth(state.Health),
		"environment", environment,
	), nil
}

// PackSnapshot copies the power-function EMAs to host memory, in float16, which is a quarter of the size
// of weights with one EMA and AdamW's moments.
func (s State) PackSnapshot() (*pt.Dict, error) {
	config, err := json.Marshal(s.Config)
	if err != nil {
		return nil, err
	}
	o, averages, state := s.Config.Train, new(pt.Dict), s.Engine.State()
	for i, length := range o.PowerEMA {
		gotorch.Scope(func() {
			var halves []gotorch.Tensor
			for _, x := range state.EMA[len(o.EMARates)+i] {
				halves = append(halves, x.CastTo(gotorch.Half))
			}
			averages.Set(powerKey(length), s.Engine.Network().PackStateDict(halves))
		})
	}
	return dictOf("format", int64(formatVersion), "config", string(config), "step", int64(state.Step),
		"data", packData(s.Data, s.Position), snapshotKey, averages), nil
}

// packData returns what a file says of the images, and of how many a run has consumed.
func packData(d Dataset, position int64) *pt.Dict {
	counts := make([]int64, len(d.ClassCounts()))
	for i, count := range d.ClassCounts() {
		counts[i] = int64(count)
	}
	return dataDict(position, d.Name(), d.Fingerprint(), d.ClassNames(), counts)
}

func dataDict(position int64, name, fingerprint string, classes []string, counts []int64) *pt.Dict {
	return dictOf("position", position, "name", name, "fingerprint", fingerprint, "classes", listOf(classes), "class_counts", listOf(counts))
}

// listOf returns a list as a file holds it, empty for nil.
func listOf[T any](values []T) []any {
	list := make([]any, len(values))
	for i, v := range values {
		list[i] = v
	}
	return list
}

// Restore loads a checkpoint's state into a new engine. It must run on the tensor thread.
func (c *Checkpoint) Restore(e *engine.Engine) (err error) {
	gotorch.Scope(func() { err = c.restoreInScope(e) })
	return err
}

func (c *Checkpoint) restoreInScope(e *engine.Engine) error {
	network, s := e.Network(), e.State()
	if err := network.LoadStateDict(c.Model); err != nil {
		return fmt.Errorf("checkpoint %s: %w", c.Path, err)
	}
	for i, key := range emaKeys(e.Options()) {
		average := c.EMA[key]
		if average == nil {
			return fmt.Errorf("checkpoint %s: holds no %s", c.Path, weightsName(key))
		}
		if err := network.UnpackStateDict(average, s.EMA[i]); err != nil {
			return fmt.Errorf("checkpoint %s: %s: %w", c.Path, weightsName(key), err)
		}
	}
	s.Step, s.Health = c.Step, c.Health
	if err := unpackOptimizer(network, c.Optimizer, &s); err != nil {
		return fmt.Errorf("checkpoint %s: optimizer: %w", c.Path, err)
	}
	if c.TimestepSampler != nil { // nil: the reference does not save it
		var err error
		if s.Sampler, err = unpackSampler(c.TimestepSampler); err != nil {
			return fmt.Errorf("checkpoint %s: timestep sampler: %w", c.Path, err)
		}
	}
	if err := e.SetState(s); err != nil {
		return fmt.Errorf("checkpoint %s: timestep sampler: %w", c.Path, err)
	}
	return nil
}
