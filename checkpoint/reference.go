package checkpoint

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/wangkuiyi/gotorch/pt"
	"go.uber.org/zap"

	"iddpm/runconfig"
	"iddpm/train/engine"
)

// IsReference reports whether a path is a model file of the reference, such as
// model010000.pt.
func IsReference(path string) bool {
	info, err := os.Stat(path)
	return referenceName.MatchString(filepath.Base(path)) && err == nil && info.Mode().IsRegular()
}

// WriteReference writes a checkpoint in the reference's format into a folder, which it
// creates, and returns the files' paths, the weights' first.
func (c *Checkpoint) WriteReference(dir string) (files []string, err error) {
	if c.Optimizer == nil {
		return nil, &NoStateError{c.Path}
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, fmt.Errorf("cannot make the folder: %w", err)
	}
	put := func(name string, dict *pt.Dict) {
		path := filepath.Join(dir, name)
		files = append(files, path)
		if err == nil {
			err = pt.WriteFile(path, dict)
		}
	}
	put(fmt.Sprintf("model%06d.pt", c.Step), c.Model)
	for _, rate := range slices.Sorted(c.rates()) {
		if !strings.HasPrefix(rate, powerPrefix) { // the reference has no such EMAs
			put(referenceEMA(rate, c.Step), c.EMA[rate])
		}
	}
	put(referenceOptimizer(c.Step), c.Optimizer)
	return files, err
}

// ReadReference reads the reference's files into a checkpoint.
func ReadReference(path string, config runconfig.Config, log *zap.Logger) (*Checkpoint, error) {
	weights, err := Load(path)
	if err != nil {
		return nil, err
	}
	weights.LogOrigin(log)
	name := referenceName.FindStringSubmatch(filepath.Base(path))
	if name == nil || !weights.Bare || weights.Taken != "" {
		return nil, fmt.Errorf("%s is not a model file of the reference, such as model010000.pt", path)
	}
	c := &Checkpoint{Path: path, Config: config, Model: weights.Model, EMA: map[string]*pt.Dict{}, Health: engine.InitialHealth()}
	if c.Step, err = strconv.Atoi(name[1]); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	c.Position = int64(c.Step) * int64(config.Train.BatchSize)
	if embedding, ok := c.Model.Get("label_emb.weight"); ok && config.Model.ClassCond {
		if table, ok := embedding.(*pt.Tensor); ok && len(table.Shape) == 2 {
			c.Config.Model.SetLabelRows(int(table.Shape[0]))
		}
	}
	return c, readSiblings(c, log)
}

// readSiblings reads the EMA weights and the optimizer's state. As in the reference, an EMA
// without a file starts as a copy of the weights, and a missing optimizer state as zeros.
func readSiblings(c *Checkpoint, log *zap.Logger) error {
	dir := filepath.Dir(c.Path)
	for _, rate := range c.Config.Train.EMARates {
		path := filepath.Join(dir, referenceEMA(emaKey(rate), c.Step))
		average, err := readBareFile(path)
		if errors.Is(err, os.ErrNotExist) {
			log.Warn("no EMA file: the EMA starts as a copy of the weights", zap.String("reason", err.Error()))
			average, err = c.Model, nil
		}
		if err != nil {
			return err
		}
		c.EMA[emaKey(rate)] = average
	}
	warnOfOthers(c, log)
	value, err := pt.ReadFile(filepath.Join(dir, referenceOptimizer(c.Step)))
	if errors.Is(err, os.ErrNotExist) {
		log.Warn("no optimizer file: AdamW's moments start at zero", zap.String("reason", err.Error()))
		c.Optimizer = dictOf("state", new(pt.Dict))
		return nil
	}
	if err != nil {
		return err
	}
	var ok bool
	if c.Optimizer, ok = value.(*pt.Dict); !ok {
		return fmt.Errorf("%s holds a %s, not an optimizer's state_dict", filepath.Join(dir, referenceOptimizer(c.Step)), pt.TypeName(value))
	}
	return nil
}

// warnOfOthers warns of EMA files whose decay rates are not in the configuration.
func warnOfOthers(c *Checkpoint, log *zap.Logger) {
	dir := filepath.Dir(c.Path)
	entries, _ := os.ReadDir(dir) // the checkpoint has been read from it
	for _, e := range entries {
		m := referenceEMAName.FindStringSubmatch(e.Name())
		if m == nil || e.Name() != referenceEMA(m[1], c.Step) {
			continue
		}
		if _, known := c.EMA[m[1]]; !known {
			log.Warn("this EMA is not continued: add its decay rate to ema-rate to continue it", zap.String("file", filepath.Join(dir, e.Name())))
		}
	}
}

func readBareFile(path string) (*pt.Dict, error) {
	c, err := readCheckpoint(path)
	if err != nil {
		return nil, err
	}
	if !c.Bare {
		return nil, fmt.Errorf("%s is a whole checkpoint, not a state_dict", path)
	}
	return c.Model, nil
}
