package main

import (
	"context"
	"path/filepath"

	urfave "github.com/urfave/cli/v2"
	"github.com/wangkuiyi/gotorch/pt"

	"iddpm/internal/cli"
	"iddpm/internal/runs"
	"iddpm/train"
)

// checkpointWithPreset reads a checkpoint. Bare weights get the configuration of a preset, or the
// reference's defaults without one.
func checkpointWithPreset(ctx context.Context, r *runs.Remotes, arg, preset string) (*train.Checkpoint, error) {
	checkpoint, err := r.Checkpoint(ctx, arg)
	if err != nil {
		return nil, err
	}
	if checkpoint.Bare {
		checkpoint.Config, err = cli.BaseConfig(preset)
	} else if preset != "" {
		err = cli.Errorf("--preset %s: %s holds its configuration; presets are for bare weights", preset, arg)
	}
	return checkpoint, err
}

// checkpointWithFlags reads a checkpoint and applies the flags to its configuration. That of bare
// weights comes from the flags and the preset alone.
func checkpointWithFlags(c *urfave.Context, r *runs.Remotes, arg, preset string) (*train.Checkpoint, error) {
	checkpoint, err := checkpointWithPreset(c.Context, r, arg, preset)
	if err != nil {
		return nil, err
	}
	config := &checkpoint.Config
	if err := cli.Configure(c, config, cli.NetworkOptions(config)); err != nil {
		return nil, err
	}
	if checkpoint.Bare && config.Model.ClassCond && !c.IsSet("num-classes") {
		config.Model.SetLabelRows(labelRows(checkpoint.Model))
	}
	if err := config.Validate(); err != nil {
		return nil, cli.Usage(err)
	}
	return checkpoint, nil
}

// labelRows returns the number of rows of the label embedding of bare weights; 0 without one.
func labelRows(weights *pt.Dict) int {
	embedding, _ := weights.Get("label_emb.weight")
	if t, ok := embedding.(*pt.Tensor); ok && len(t.Shape) == 2 {
		return int(t.Shape[0])
	}
	return 0
}

// inRunFolder returns a path in the run folder that a checkpoint is in; without one, the working
// folder.
func inRunFolder(c *train.Checkpoint, parts ...string) string {
	dir := filepath.Dir(c.Path)
	if c.Bare || filepath.Base(dir) != "checkpoints" {
		return "."
	}
	return filepath.Join(append([]string{filepath.Dir(dir)}, parts...)...)
}
