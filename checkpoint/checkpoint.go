package checkpoint

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"os"
	"slices"

	"github.com/wangkuiyi/gotorch/pt"
	"go.uber.org/zap"

	"iddpm/runconfig"
	"iddpm/train/engine"
)

// Checkpoint is the content of a checkpoint file: all the state needed to resume a run, or
// a bare state_dict, of which only Model is set.
type Checkpoint struct {
	Path            string
	Step            int
	Config          runconfig.Config
	Bare            bool                // the file is a bare state_dict: there is no Config
	Prefix          string              // stripped from all names of a bare state_dict, such as "module."
	Taken           string              // where bare weights were found in a file of another program; "": they are the file
	Model           *pt.Dict            // weights
	Exported        string              // of a file that holds one set of weights with their configuration, see [Weights.Rate]; else ""
	EMA             map[string]*pt.Dict // EMA weights, by decay rate
	Optimizer       *pt.Dict            // torch.optim.AdamW's state_dict; nil in a file of weights
	TimestepSampler *pt.Dict
	Position        int64 // images consumed from the data
	DataName        string
	DataFingerprint string
	ClassNames      []string      // by label; empty without classes
	ClassCounts     []int64       // training images of each class, by label; empty if unknown
	Health          engine.Health // non-finite steps and the loss scale
	Environment     map[string]string

	raw       *pt.Dict // of a file of another program whose EMA weights are Model: the weights of the last step
	alsoHolds []string // networks of such a file that are not used

	imported bool     // from diffusers
	notes    []string // about it, for the log

	unreadable []error // of the run's newer checkpoints

	files  []string  // that hold the weights, if they are several; nil: Path
	mapped io.Closer // the mapped files that hold the tensors; nil: they are in Go's memory
	sum    string    // sha256 of the files; "": not computed yet
}

// Sum returns the sha256 of the file, in hexadecimal, or of its files one after another. It reads them
// once.
func (c *Checkpoint) Sum() (string, error) {
	if c.sum != "" {
		return c.sum, nil
	}
	files := c.files
	if files == nil {
		files = []string{c.Path}
	}
	h := sha256.New()
	for _, path := range files {
		if err := copyFile(h, path); err != nil {
			return "", err
		}
	}
	c.sum = hex.EncodeToString(h.Sum(nil))
	return c.sum, nil
}

func copyFile(w io.Writer, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.Copy(w, f); err != nil {
		return fmt.Errorf("cannot read the checkpoint: %w", err)
	}
	return nil
}

// ErrNone says that a folder holds no checkpoint, readable or not.
var ErrNone = errors.New("holds no checkpoint")

// LogOrigin logs which newer checkpoints of the run cannot be read, and how the weights were found in a file that
// this program has not written: a stripped prefix, the notes on a folder of diffusers, the chosen one of
// several networks.
func (c *Checkpoint) LogOrigin(log *zap.Logger) {
	for _, err := range c.unreadable {
		log.Warn("cannot read this checkpoint: using an older one of the run", zap.Error(err), zap.String("used", c.Path))
	}
	if c.Prefix != "" {
		log.Info("stripped a prefix that all parameter names share", zap.String("prefix", c.Prefix), zap.String("checkpoint", c.Path))
	}
	for _, note := range c.notes {
		log.Info("read from diffusers: "+note, zap.String("checkpoint", c.Path))
	}
	if c.Taken != "" {
		about := []zap.Field{zap.String("weights", c.Taken), zap.String("checkpoint", c.Path)}
		if len(c.alsoHolds) > 0 {
			about = append(about, zap.Strings("unused", c.alsoHolds))
		}
		log.Info("using the weights of one network in a file of another program", about...)
	}
}

func (c *Checkpoint) read(f fields) error {
	if _, ok := f.dict.Get(snapshotKey); ok {
		return errors.New("holds a snapshot of power-function EMAs: `iddpm ema RUN_DIR` combines those of its run")
	}
	if err := c.readHeader(&f); err != nil {
		return err
	}
	c.Model = f.sub("model").dict
	if _, ok := f.dict.Get(exportedKey); ok {
		c.Exported = f.string(exportedKey)
		return cmp.Or(f.err, checkWeightsKey(c.Exported))
	}
	c.Optimizer = f.sub("optimizer").dict
	c.TimestepSampler = f.sub("timestep_sampler").dict
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
	if err := f.failed(environment, averages); err != nil {
		return err
	}
	var err error
	c.Health, err = readHealth(&f)
	return err
}

// readHeader checks the format, and reads the configuration, the step and what is known of the images.
func (c *Checkpoint) readHeader(f *fields) error {
	if v := f.int("format"); f.err == nil && v != formatVersion {
		return fmt.Errorf("has format %d, this program reads format %d: update iddpm", v, formatVersion)
	}
	text := f.string("config")
	c.Step = int(f.int("step"))
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
	if err := f.failed(data); err != nil {
		return err
	}
	if c.Step < 0 || c.Position < 0 {
		return fmt.Errorf("is at step %d and image %d: neither can be negative", c.Step, c.Position)
	}
	var err error
	c.Config, err = runconfig.Parse([]byte(text))
	return err
}

// rates yields the decay rates of the EMAs.
func (c *Checkpoint) rates() iter.Seq[string] { return maps.Keys(c.EMA) }

// NoStateError is the error of resuming from a file of weights, or of writing its training state.
type NoStateError struct{ Path string }

func (e *NoStateError) Error() string { return e.Path + " holds weights but no training state" }
