package train

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

// snapshot is what a checkpoint is made from.
type snapshot struct {
	config      runconfig.Config
	engine      *engine.Engine
	data        Data
	position    int64 // images consumed from the data
	environment map[string]string
}

// pack copies the whole state to host memory, in the layout of the file.
func (s snapshot) pack() (*pt.Dict, error) {
	config, err := json.Marshal(s.config)
	if err != nil {
		return nil, err
	}
	state, network := s.engine.State(), s.engine.Network()
	averages := new(pt.Dict)
	for i, key := range emaKeys(s.engine.Options()) {
		averages.Set(key, network.PackStateDict(state.EMA[i]))
	}
	environment := new(pt.Dict)
	for _, key := range slices.Sorted(maps.Keys(s.environment)) { // equal states give equal files
		environment.Set(key, s.environment[key])
	}
	return dictOf(
		"format", int64(formatVersion),
		"config", string(config),
		"step", int64(state.Step),
		"model", network.StateDict(),
		"ema", averages,
		"optimizer", packOptimizer(s.config.Train, state),
		"timestep_sampler", packSampler(state.Sampler),
		"data", packData(s.data, s.position),
		"rng", dictOf("seed", strconv.FormatUint(s.config.Train.Seed, 10)),
		"health", packHealth(state.Health),
		"environment", environment,
	), nil
}

// packData returns what a file says of the images, and of how many a run has consumed.
func packData(d Data, position int64) *pt.Dict {
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

// restore loads a checkpoint's state into a new engine.
func (c *Checkpoint) restore(e *engine.Engine) (err error) {
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
	s.Step, s.Health = c.Step, c.health
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
