package train

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/wangkuiyi/gotorch"
	"github.com/wangkuiyi/gotorch/pt"
	"go.uber.org/zap"

	"iddpm/model"
)

// formatVersion is the "format" of the checkpoints written here.
const formatVersion = 1

// Checkpoint is the content of a checkpoint file: all the state needed to resume a run, or
// a bare state_dict, of which only Model is set.
type Checkpoint struct {
	Path            string
	Step            int
	Config          Config
	Bare            bool                // the file is a bare state_dict: there is no Config
	Prefix          string              // stripped from all names of a bare state_dict, such as "module."
	Model           *pt.Dict            // weights
	EMA             map[string]*pt.Dict // EMA weights, by decay rate
	Optimizer       *pt.Dict            // torch.optim.AdamW's state_dict; nil in a file of weights
	TimestepSampler *pt.Dict
	Position        int64 // images consumed from the data
	DataName        string
	DataFingerprint string
	ClassNames      []string // by label; empty without classes
	ClassCounts     []int64  // training images of each class, by label; empty if unknown
	health          health
	Environment     map[string]string

	sum string // sha256 of the file; "": not computed yet
}

// Sum returns the sha256 of the file, in hexadecimal. It reads the file once.
func (c *Checkpoint) Sum() (string, error) {
	if c.sum != "" {
		return c.sum, nil
	}
	f, err := os.Open(c.Path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("cannot read the checkpoint: %w", err)
	}
	c.sum = hex.EncodeToString(h.Sum(nil))
	return c.sum, nil
}

// LoadCheckpoint reads a checkpoint file, a bare state_dict, or the newest
// readable checkpoint of a run folder.
func LoadCheckpoint(path string) (*Checkpoint, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("no checkpoint or run folder %s: %w", path, err)
	}
	if !info.IsDir() {
		return readCheckpoint(path)
	}
	var errs []error
	for _, file := range checkpointsIn(path) {
		c, err := readCheckpoint(file)
		if err == nil {
			return c, nil
		}
		errs = append(errs, err)
	}
	if _, err := os.Stat(filepath.Join(path, ConfigFile)); err == nil && len(errs) == 0 {
		return nil, fmt.Errorf("the run %s %w yet: wait for its first save, or, if it has stopped, resume it by `iddpm resume %s`", path, errNoCheckpoint, path)
	}
	if len(errs) == 0 {
		return nil, fmt.Errorf("%s %w (%s/ckpt-*.pt): is it a run folder?", path, errNoCheckpoint, checkpointDir)
	}
	return nil, fmt.Errorf("no checkpoint of %s can be read; if they are removed from %s, the run starts again: %w", path, checkpointDir, errors.Join(errs...))
}

// errNoCheckpoint says that a folder holds no checkpoint, readable or not.
var errNoCheckpoint = errors.New("holds no checkpoint")

func readCheckpoint(path string) (*Checkpoint, error) {
	value, err := pt.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return parseCheckpoint(path, value)
}

// parseCheckpoint reads the unpickled value of a file as a checkpoint.
func parseCheckpoint(path string, value any) (*Checkpoint, error) {
	dict, ok := value.(*pt.Dict)
	if !ok {
		return nil, fmt.Errorf("checkpoint %s: holds a %s, not a checkpoint of iddpm or a state_dict", path, pt.TypeName(value))
	}
	c := &Checkpoint{Path: path}
	if _, ok := dict.Get("format"); !ok {
		return c, c.readBare(dict)
	}
	if err := c.read(fields{dict: dict}); err != nil {
		return nil, fmt.Errorf("checkpoint %s: %w", path, err)
	}
	return c, nil
}

// TellPrefix logs the prefix that was stripped from a bare state_dict's names, if any.
func (c *Checkpoint) TellPrefix(log *zap.Logger) {
	if c.Prefix != "" {
		log.Info("stripped a prefix that all parameter names share", zap.String("prefix", c.Prefix), zap.String("checkpoint", c.Path))
	}
}

// readBare reads a dict that holds only tensors as a state_dict.
func (c *Checkpoint) readBare(dict *pt.Dict) error {
	if dict.Len() == 0 {
		return fmt.Errorf("checkpoint %s: is empty", c.Path)
	}
	if err := foreign(c.Path, dict); err != nil {
		return fmt.Errorf("checkpoint %s: %w", c.Path, err)
	}
	c.Bare = true
	c.Model, c.Prefix = model.StripPrefix(dict)
	return nil
}

func (c *Checkpoint) read(f fields) error {
	if v := f.int("format"); f.err == nil && v != formatVersion {
		return fmt.Errorf("has format %d, this program reads format %d: update iddpm", v, formatVersion)
	}
	text := f.string("config")
	c.Step = int(f.int("step"))
	c.Model = f.sub("model").dict
	c.Optimizer = f.sub("optimizer").dict
	c.TimestepSampler = f.sub("timestep_sampler").dict
	data := f.sub("data")
	c.Position, c.DataName, c.DataFingerprint = data.int("position"), data.string("name"), data.string("fingerprint")
	for _, name := range data.list("classes") {
		c.ClassNames = append(c.ClassNames, fmt.Sprint(name))
	}
	if data.err == nil && slices.Contains(data.keys(), "class_counts") { // not in older checkpoints
		for _, count := range data.list("class_counts") {
			n, _ := count.(int64)
			c.ClassCounts = append(c.ClassCounts, n)
		}
	}
	environment := f.sub("environment")
	c.Environment = map[string]string{}
	for _, key := range environment.keys() {
		c.Environment[key] = environment.string(key)
	}
	averages := f.sub("ema")
	c.EMA = map[string]*pt.Dict{}
	for _, rate := range averages.keys() {
		c.EMA[rate] = averages.sub(rate).dict
	}
	if err := f.failed(data, environment, averages); err != nil {
		return err
	}
	if c.Step < 0 || c.Position < 0 {
		return fmt.Errorf("is at step %d and image %d: neither can be negative", c.Step, c.Position)
	}
	var err error
	if c.health, err = readHealth(&f); err != nil {
		return err
	}
	c.Config, err = parseConfig([]byte(text))
	return err
}

// pack copies the whole state to host memory, in the layout of the file.
func (t *Trainer) pack() (*pt.Dict, error) {
	config, err := json.Marshal(t.config)
	if err != nil {
		return nil, err
	}
	averages := new(pt.Dict)
	for i, rate := range t.config.Train.EMARates {
		averages.Set(emaKey(rate), t.network.PackStateDict(t.ema[i]))
	}
	names, counts := []any{}, []any{}
	for _, name := range t.dataset.ClassNames() {
		names = append(names, name)
	}
	for _, count := range t.dataset.ClassCounts() {
		counts = append(counts, int64(count))
	}
	environment, now := new(pt.Dict), t.environment()
	for _, key := range slices.Sorted(maps.Keys(now)) { // equal states give equal files
		environment.Set(key, now[key])
	}
	return dictOf(
		"format", int64(formatVersion),
		"config", string(config),
		"step", int64(t.current),
		"model", t.network.StateDict(),
		"ema", averages,
		"optimizer", t.packOptimizer(),
		"timestep_sampler", packSampler(t.sampler),
		"data", dictOf("position", t.position, "name", t.dataset.Name(), "fingerprint", t.dataset.Fingerprint(), "classes", names, "class_counts", counts),
		"rng", dictOf("seed", strconv.FormatUint(t.config.Train.Seed, 10)),
		"health", t.health.pack(),
		"environment", environment,
	), nil
}

// restore loads a checkpoint's state into a newly built trainer.
func (t *Trainer) restore(c *Checkpoint) error {
	t.current, t.position, t.health = c.Step, c.Position, c.health
	if err := t.network.LoadStateDict(c.Model); err != nil {
		return fmt.Errorf("checkpoint %s: %w", c.Path, err)
	}
	for i, rate := range t.config.Train.EMARates {
		average := c.EMA[emaKey(rate)]
		if average == nil {
			return fmt.Errorf("checkpoint %s: holds no EMA of decay rate %s", c.Path, emaKey(rate))
		}
		if err := t.network.UnpackStateDict(average, t.ema[i]); err != nil {
			return fmt.Errorf("checkpoint %s: EMA of decay rate %s: %w", c.Path, emaKey(rate), err)
		}
	}
	if err := t.unpackOptimizer(c.Optimizer); err != nil {
		return fmt.Errorf("checkpoint %s: optimizer: %w", c.Path, err)
	}
	if c.TimestepSampler != nil { // nil: the reference does not save it
		if err := unpackSampler(t.sampler, c.TimestepSampler); err != nil {
			return fmt.Errorf("checkpoint %s: timestep sampler: %w", c.Path, err)
		}
	}
	t.warnOfDifferences(c)
	return nil
}

// TrainedClasses returns the labels of the classes with training images, or all labels if
// the checkpoint does not list the counts.
func (c *Checkpoint) TrainedClasses() (trained []int64) {
	named := len(c.ClassNames)
	for label := range c.Config.Model.NumClasses {
		switch {
		case label < len(c.ClassCounts) && c.ClassCounts[label] == 0, named > 0 && label >= named:
			continue
		}
		trained = append(trained, int64(label))
	}
	return trained
}

// rates yields the decay rates of the EMAs.
func (c *Checkpoint) rates() iter.Seq[string] { return maps.Keys(c.EMA) }

// Check returns the error that [Checkpoint.Network] returns for weights that are missing
// or do not fit, without building the network.
func (c *Checkpoint) Check(ema string) error {
	u, err := c.Config.Model.UNet()
	if err != nil {
		return err
	}
	weights, err := c.Weights(ema)
	if err != nil {
		return err
	}
	plan, err := model.Plan(u)
	if err != nil {
		return err
	}
	if err := plan.CheckStateDict(weights.Dict); err != nil {
		return fmt.Errorf("checkpoint %s: %w", c.Path, err)
	}
	return nil
}

// Network builds the checkpoint's network on a device, for inference, with the weights
// that ema names: see [Checkpoint.Weights]. It must run on the tensor thread.
func (c *Checkpoint) Network(ema string, device gotorch.Device) (*model.UNet, error) {
	u, err := c.Config.Model.UNet()
	if err != nil {
		return nil, err
	}
	weights, err := c.Weights(ema)
	if err != nil {
		return nil, err
	}
	network, err := model.New(u, 0)
	if err != nil {
		return nil, err
	}
	if err := network.LoadStateDict(weights.Dict); err != nil {
		network.Free()
		return nil, fmt.Errorf("checkpoint %s: %w", c.Path, err)
	}
	network.To(device)
	return network, nil
}
