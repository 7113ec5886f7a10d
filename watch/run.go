package watch

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	logFile    = "log.jsonl"
	configFile = "config.json"

	chunk      = 1 << 20  // bytes of a log read at a time, and the longest line
	maxConfig  = 1 << 20  // bytes of a config.json
	maxImage   = 64 << 20 // bytes of a sample grid
	maxSamples = 10000    // sample grids listed
)

// run is one watched run. Its fields are read and written under the watcher's lock, except source.
type run struct {
	id     string // in URLs: its index
	name   string // as given
	source source

	history     *history
	config      map[string]string // the settings of config.json by their dotted names
	total       int               // last step of the run; 0: none
	batchSize   float64
	grids       []Grid
	checkpoint  string // name of the newest
	saved       time.Time
	logModified time.Time
	seen        bool  // read at least once
	err         error // of the last reading
}

// Grid is a grid of samples.
type Grid struct {
	Step int    `json:"step"`
	Name string `json:"name"` // slash-separated, in the run's folder
}

// files are what a listing of the run's folder tells.
type files struct {
	log, config file
	grids       []Grid
	checkpoint  file
}

var (
	stepOf         = regexp.MustCompile(`step-(\d+)`)
	checkpointName = regexp.MustCompile(`^checkpoints/ckpt-\d+\.pt$`)
)

func (r *run) readFiles(ctx context.Context) (f files, err error) {
	all, err := r.source.list(ctx, ".")
	for _, file := range all {
		switch {
		case file.name == logFile:
			f.log = file
		case file.name == configFile:
			f.config = file
		case checkpointName.MatchString(file.name) && !file.modified.Before(f.checkpoint.modified):
			f.checkpoint = file
		case isGrid(file.name) && len(f.grids) < maxSamples:
			step, _ := strconv.Atoi(stepOf.FindStringSubmatch(file.name)[1])
			f.grids = append(f.grids, Grid{step, file.name})
		}
	}
	slices.SortFunc(f.grids, func(a, b Grid) int {
		if a.Step != b.Step {
			return a.Step - b.Step
		}
		return len(a.Name) - len(b.Name)
	})
	return f, err
}

// isGrid reports whether a file is a grid of samples: a PNG file below samples/ with a step in its path.
func isGrid(name string) bool {
	return strings.HasPrefix(name, "samples/") && path.Ext(name) == ".png" && stepOf.MatchString(name)
}

// settings flattens a config.json: {"train":{"lr":1e-4}} becomes "train.lr": "0.0001".
func settings(text []byte) (map[string]string, error) {
	var tree map[string]any
	if err := json.Unmarshal(text, &tree); err != nil {
		return nil, fmt.Errorf("%s: %w", configFile, err)
	}
	flat := map[string]string{}
	flatten("", tree, flat)
	return flat, nil
}

func flatten(prefix string, value any, flat map[string]string) {
	if tree, ok := value.(map[string]any); ok {
		for name, v := range tree {
			if prefix != "" {
				name = prefix + "." + name
			}
			flatten(name, v, flat)
		}
		return
	}
	text, _ := json.Marshal(value) // was unmarshalled
	flat[prefix] = string(text)
}

func integer(text string) int {
	n, _ := strconv.Atoi(text)
	return n
}
