package main

import (
	"path/filepath"

	urfave "github.com/urfave/cli/v2"

	"iddpm/checkpoint"
	"iddpm/internal/cli"
	"iddpm/internal/runs"
)

// checkpointWithFlags reads a checkpoint and applies the flags to its configuration. That of bare
// weights comes from their parameters, the flags and the preset.
func checkpointWithFlags(c *urfave.Context, r *runs.Remotes, arg, preset string) (*checkpoint.Checkpoint, error) {
	trained, err := r.Checkpoint(c.Context, arg)
	if err != nil {
		return nil, err
	}
	_, err = configureCheckpoint(c, r, trained, preset)
	return trained, err
}

// configureCheckpoint applies the flags to the configuration of a checkpoint, and returns what is
// identified of bare weights.
func configureCheckpoint(c *urfave.Context, r *runs.Remotes, trained *checkpoint.Checkpoint, preset string) (found checkpoint.Identified, err error) {
	config := &trained.Config
	switch {
	case trained.Bare:
		found, err = bareWeights{c, r.Log, preset}.complete(trained)
	case preset != "":
		err = cli.Errorf("--preset %s: %s holds its configuration; presets are for bare weights", preset, trained.Path)
	default:
		err = cli.Configure(c, config, cli.NetworkOptions(config))
	}
	if err != nil {
		return found, err
	}
	if err := config.Validate(); err != nil {
		return found, cli.Usage(err)
	}
	return found, nil
}

// inRunFolder returns a path in the run folder that a checkpoint is in; without one, the working
// folder.
func inRunFolder(c *checkpoint.Checkpoint, parts ...string) string {
	dir, ok := runOf(c)
	if c.Bare || !ok {
		return "."
	}
	return filepath.Join(append([]string{dir}, parts...)...)
}

// runOf returns the run folder of a checkpoint that lies in one.
func runOf(c *checkpoint.Checkpoint) (dir string, ok bool) {
	dir, name := filepath.Split(filepath.Dir(c.Path))
	return filepath.Clean(dir), name == checkpoint.Dir
}
