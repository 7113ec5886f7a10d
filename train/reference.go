package train

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"

	"github.com/wangkuiyi/gotorch/pt"
	"go.uber.org/zap"
)

// The reference saves a run as several files in one folder: model010000.pt, the weights;
// ema_0.9999_010000.pt, the EMA weights of each decay rate; and opt010000.pt, AdamW's state.
// They do not contain the network's configuration.

var referenceName = regexp.MustCompile(`^model(\d+)\.pt$`)

func referenceEMA(rate string, step int) string { return fmt.Sprintf("ema_%s_%06d.pt", rate, step) }
func referenceOptimizer(step int) string        { return fmt.Sprintf("opt%06d.pt", step) }

// ReferenceStep returns the step in the name of a model file of the reference, or -1 for
// other names.
func ReferenceStep(name string) int {
	m := referenceName.FindStringSubmatch(name)
	if m == nil {
		return -1
	}
	step, err := strconv.Atoi(m[1])
	if err != nil {
		return -1
	}
	return step
}

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
		return nil, fmt.Errorf("%s holds weights but no training state: export it with --format pt", c.Path)
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
		put(referenceEMA(rate, c.Step), c.EMA[rate])
	}
	put(referenceOptimizer(c.Step), c.Optimizer)
	return files, err
}

// ResumeReference resumes a run of the reference. path is its model file, the EMA and
// optimizer files are found in the same folder, and c is the configuration of the network
// and the training. The new run folder must not hold a run yet; a checkpoint is saved there
// at once.
func ResumeReference(path string, c Config, r Run) (*Trainer, error) {
	return begin(r, func(t *Trainer) (*Checkpoint, error) {
		if err := refuseRun(r.Dir); err != nil {
			return nil, err
		}
		from, err := t.readReference(path, c)
		if err != nil {
			return nil, err
		}
		t.config, t.isNew, t.importedFromReference = from.Config, true, true
		t.config.Anchor()
		return from, from.Config.Validate()
	})
}

// readReference reads the reference's files into a checkpoint.
func (t *Trainer) readReference(path string, config Config) (*Checkpoint, error) {
	weights, err := LoadCheckpoint(path)
	if err != nil {
		return nil, err
	}
	weights.TellPrefix(t.log)
	name := referenceName.FindStringSubmatch(filepath.Base(path))
	if name == nil || !weights.Bare {
		return nil, fmt.Errorf("%s is not a model file of the reference, such as model010000.pt", path)
	}
	c := &Checkpoint{Path: path, Config: config, Model: weights.Model, EMA: map[string]*pt.Dict{}, health: t.health}
	if c.Step, err = strconv.Atoi(name[1]); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	c.Position = int64(c.Step) * int64(config.Train.BatchSize)
	if embedding, ok := c.Model.Get("label_emb.weight"); ok && config.Model.ClassCond {
		if table, ok := embedding.(*pt.Tensor); ok && len(table.Shape) == 2 {
			c.Config.Model.NumClasses = int(table.Shape[0])
		}
	}
	return c, t.readSiblings(c)
}

// readSiblings reads the EMA weights and the optimizer's state. As in the reference, an EMA
// without a file starts as a copy of the weights, and a missing optimizer state as zeros.
func (t *Trainer) readSiblings(c *Checkpoint) error {
	dir := filepath.Dir(c.Path)
	for _, rate := range c.Config.Train.EMARates {
		path := filepath.Join(dir, referenceEMA(emaKey(rate), c.Step))
		average, err := readBareFile(path)
		if errors.Is(err, os.ErrNotExist) {
			t.log.Warn("no EMA file: the EMA starts as a copy of the weights", zap.String("reason", err.Error()))
			average, err = c.Model, nil
		}
		if err != nil {
			return err
		}
		c.EMA[emaKey(rate)] = average
	}
	t.warnOfOthers(c)
	value, err := pt.ReadFile(filepath.Join(dir, referenceOptimizer(c.Step)))
	if errors.Is(err, os.ErrNotExist) {
		t.log.Warn("no optimizer file: AdamW's moments start at zero", zap.String("reason", err.Error()))
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
func (t *Trainer) warnOfOthers(c *Checkpoint) {
	for _, file := range matching(filepath.Dir(c.Path), referenceEMA("*", c.Step)) {
		known := false
		for rate := range c.rates() {
			known = known || filepath.Base(file) == referenceEMA(rate, c.Step)
		}
		if !known {
			t.log.Warn("this EMA is not continued: add its decay rate to --ema-rate to continue it", zap.String("file", file))
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

// unflatten splits the moments, which the reference's --use_fp16 stores as one vector over
// all parameters, by parameter.
func (t *Trainer) unflatten(state *pt.Dict) (*pt.Dict, error) {
	f := fields{dict: state}
	entry := f.sub(0)
	m, v := entry.tensor("exp_avg"), entry.tensor("exp_avg_sq")
	if err := f.failed(entry); err != nil {
		return nil, err
	}
	if n := t.network.NumParameters(); len(m.Shape) != 1 || m.Shape[0] != n || len(v.Shape) != 1 || v.Shape[0] != n {
		return nil, fmt.Errorf("the state is of one parameter of shape %v, but the network has %d elements in total", m.Shape, n)
	}
	step, _ := entry.dict.Get("step")
	whole, at := new(pt.Dict), int64(0)
	for i, p := range t.network.Parameters() {
		shape := p.Tensor.Shape()
		n := p.Tensor.Numel()
		part := func(x *pt.Tensor) *pt.Tensor {
			size := x.DType.Size()
			return &pt.Tensor{DType: x.DType, Shape: shape, Data: x.Data[at*size : (at+n)*size]}
		}
		whole.Set(i, dictOf("step", step, "exp_avg", part(m), "exp_avg_sq", part(v)))
		at += n
	}
	return whole, nil
}
