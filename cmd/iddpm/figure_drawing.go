package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"iddpm/checkpoint"
	"iddpm/internal/cli"
)

// drawing is a figure.Chart or a figure.Strip.
type drawing interface {
	Save(path string) ([]string, error)
}

// figureSpec describes a subcommand of figure.
type figureSpec struct {
	name        string
	usage       string
	arguments   string
	weights     bool // reads the weights of runs: of a run at a URL, the newest checkpoint is downloaded
	description string
	// begin returns the figure's own flags and the function that plots it once they are set.
	begin func() ([]cli.Option, draw)
}

// draw plots a figure from the arguments of its command. The session has no device yet.
type draw func(ctx context.Context, s *session, args []string) (drawing, error)

// sessionFlags are the flags of a session without --json, which every figure has.
func sessionFlags(o *sessionOptions) []cli.Option {
	return slices.DeleteFunc(o.options(), func(f cli.Option) bool { return f.Name == "json" })
}

// source is the argument of a curve: PATH, or NAME=PATH.
type source struct{ name, path string }

// sourcesOf parses arguments. The default name of a curve is the shortest end of its path
// that is unique.
func sourcesOf(args []string) ([]source, error) {
	all := make([]source, len(args))
	for i, arg := range args {
		all[i] = source{path: arg}
		if name, path, ok := strings.Cut(arg, "="); ok && name != "" && !cli.Exists(arg) {
			all[i] = source{name, path}
		}
		if !cli.Exists(all[i].path) {
			return nil, fmt.Errorf("%s does not exist: name a run folder, a checkpoint or a file", all[i].path)
		}
	}
	for i := range all {
		if all[i].name == "" {
			all[i].name = uniqueSuffix(all[i].path, all)
		}
	}
	return all, nil
}

// figureCheckpoint reads a checkpoint. Bare weights need to be those of a published network, since
// figures have no flags that describe one; hint says what to name instead.
func figureCheckpoint(path, hint string) (*checkpoint.Checkpoint, error) {
	c, err := checkpoint.Load(path)
	if err == nil && c.Bare {
		if err = c.CompletePublished(); err != nil {
			err = fmt.Errorf("%w: %s", err, hint)
		}
	}
	return c, err
}

// needsCheckpoint is the hint of a figure of networks.
const needsCheckpoint = "figures need a checkpoint of iddpm"

// uniqueSuffix returns the shortest end of a path that no other one has.
func uniqueSuffix(path string, all []source) string {
	parts := strings.Split(filepath.ToSlash(filepath.Clean(path)), "/")
	for n := 1; n < len(parts); n++ {
		end, same := strings.Join(parts[len(parts)-n:], "/"), 0
		for _, s := range all {
			if other := filepath.ToSlash(filepath.Clean(s.path)); other == end || strings.HasSuffix(other, "/"+end) {
				same++
			}
		}
		if same < 2 {
			return end
		}
	}
	return path
}
