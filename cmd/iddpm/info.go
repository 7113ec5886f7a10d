package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v2"
	"github.com/wangkuiyi/gotorch/pt"

	"iddpm/checkpoint"
	"iddpm/internal/cli"
	"iddpm/model"
	"iddpm/runconfig"
	"iddpm/storage"
	"iddpm/train"
	"iddpm/train/engine"
)

func (p *program) infoCommand() *urfave.Command {
	config := runconfig.Defaults()
	return &urfave.Command{
		Name:      "info",
		Usage:     "show the settings, cost and memory of a checkpoint or preset",
		UsageText: "iddpm info CKPT_OR_RUN_DIR_OR_PRESET [FLAGS]",
		Description: `Prints the settings, the step, the number of parameters, the FLOPs of a forward pass and the memory
needed for training, and the FLOPs of sampling an image, with guidance by the flags of sample. Flags
override the settings, to estimate the cost of a network before training it.

Presets:
` + presetList() + `
Examples:
  iddpm info runs/001-emoji
  iddpm info cifar10
  iddpm info imagenet64 --num-channels 192 --use-checkpoint
  iddpm info runs/003-photos --guidance 2 --guidance-interval 0.2,3 --timestep-respacing 100`,
		Flags:           cli.FlagsOf(append(cli.ConfigOptions(&config), newInfoOptions().options()...)...),
		HideHelpCommand: true,
		Action:          p.info,
	}
}

// presetList returns a line per preset.
func presetList() string {
	var list strings.Builder
	for _, p := range runconfig.Presets() {
		fmt.Fprintf(&list, "  %-22s%s\n", p.Name, p.Summary)
	}
	return list.String()
}

func (p *program) info(c *urfave.Context) error {
	o := newInfoOptions()
	name, err := argument(c, "CKPT_OR_RUN_DIR_OR_PRESET")
	if err := errors.Join(err, cli.Apply(c, o.options())); err != nil {
		return err
	}
	if err := errors.Join(o.guidance.validate(), o.classifier.validate()); err != nil {
		return err
	}
	s := p.newSession(o.json, false)
	result, err := s.describeModel(c, name, o)
	if err != nil {
		return err
	}
	return s.emit(result, result.text)
}

// describeModel describes a file, a folder, a URL or a preset.
func (s *session) describeModel(c *urfave.Context, name string, o *infoOptions) (*infoResult, error) {
	var r infoResult
	if named, err := runconfig.LookupPreset(name); storage.IsURL(name) || cli.Exists(name) {
		if err := s.describeCheckpoint(c, name, o, &r); err != nil {
			return nil, err
		}
	} else if err != nil {
		return nil, fmt.Errorf("%s is neither a checkpoint, nor a run folder, nor a preset (%s)", name, cli.PresetNames())
	} else {
		r.Preset, r.Config = name, named.Config
	}
	if err := cli.Configure(c, &r.Config, cli.ConfigOptions(&r.Config)); err != nil {
		return nil, err
	}
	if err := r.Config.Validate(); err != nil {
		return nil, cli.Usage(err)
	}
	if err := r.measure(); err != nil || r.FLOPs == 0 || r.Config.Classifier != nil {
		return &r, err
	}
	return &r, r.measureSampling(c.Context, s.remotes(o.remoteOptions), o, r.FLOPs)
}

// describeCheckpoint reads a file, a folder or a URL. Of bare weights whose network is not identified
// the costs are omitted.
func (s *session) describeCheckpoint(c *urfave.Context, name string, o *infoOptions, r *infoResult) error {
	remotes := s.remotes(o.remoteOptions)
	trained, err := remotes.Checkpoint(c.Context, name)
	if err != nil {
		return err
	}
	found, err := configureCheckpoint(c, remotes, trained, o.preset)
	if err != nil && !(trained.Bare && unidentified(err)) {
		return err
	}
	if err != nil {
		r.Unfit = inBrief(err)
		if trained.Config, err = cli.BaseConfig(o.preset); err != nil {
			return err
		}
	}
	r.read(trained)
	if r.Bare {
		r.identify(found, bareWeights{c, s.log, o.preset})
	}
	return nil
}

// read fills in what a checkpoint holds.
func (r *infoResult) read(trained *checkpoint.Checkpoint) {
	r.Checkpoint, r.Bare, r.Step, r.Config = trained.Path, trained.Bare, trained.Step, trained.Config
	r.EMARates = slices.Sorted(maps.Keys(trained.EMA))
	if trained.Exported != "" && trained.Exported != checkpoint.RawWeights {
		r.EMARates = []string{trained.Exported}
	}
	r.Data, r.Made = trained.DataName, trained.Environment
	w, _ := trained.Weights("") // fails only for a missing rate
	r.reason = w.Reason
	if r.Bare {
		r.weights = trained
	} else {
		r.Weights = w.Name
	}
}

// identify fills in what is identified by bare weights.
func (r *infoResult) identify(found checkpoint.Identified, b bareWeights) {
	if found.Network.UNet.ModelChannels > 0 {
		r.Network = found.Network.String()
	}
	if found.Published != nil {
		r.Published = found.Published.Files
		r.given = found.Published.String()
	} else if r.Unfit == "" {
		r.Assumed = b.assumed(r.weights, found)
		r.given = "the network's from its parameters; the rest from flags, and defaults"
	} else {
		r.given = "defaults"
	}
	if b.preset != "" {
		r.given = "those of preset " + b.preset + ", and flags"
	}
}

// measure computes the cost of the network, without allocating its tensors.
func (r *infoResult) measure() error {
	if r.Unfit != "" {
		r.Parameters = countValues(r.weights.Model)
		return nil
	}
	if r.Config.Classifier != nil {
		return r.measureClassifier()
	}
	network, err := planOf(r.Config.Model)
	if err != nil {
		return err
	}
	r.FLOPs = 2 * network.MACs(r.Config.Model.ImageSize)
	r.measureMemory(network, network.RecomputedMACs(r.Config.Model.ImageSize))
	return nil
}

// measureClassifier computes the cost of a classifier.
func (r *infoResult) measureClassifier() error {
	network, err := planOfClassifier(*r.Config.Classifier)
	if err != nil {
		return err
	}
	size := r.Config.Classifier.ImageSize
	r.FLOPs, r.GradientFLOPs = 2*network.MACs(size), 2*network.GradientMACs(size)
	r.measureMemory(network, network.RecomputedMACs(size))
	return nil
}

// measureMemory computes the memory of training. recomputed are the multiply-accumulate operations
// that gradient checkpointing adds to a step of one image.
func (r *infoResult) measureMemory(network engine.Network, recomputed int64) {
	r.Parameters = network.NumParameters()
	r.Memory = estimate(network, r.Config)
	without, with := imageBytes(network, r.Config, false), imageBytes(network, r.Config, true)
	r.Checkpointing = checkpointingCost{FLOPs: 2 * recomputed, Whole: without, Saved: without - with}
}

// inBrief returns the first mismatch of a state_dict and the number of the others; of
// another error its text.
func inBrief(err error) string {
	var unfit *model.StateDictError
	if !errors.As(err, &unfit) {
		return err.Error()
	}
	first, more := unfit.Mismatches[0].Error(), len(unfit.Mismatches)-1
	if more == 0 {
		return first
	}
	return fmt.Sprintf("%s (and %d more)", first, more)
}

// countValues returns the number of values in the tensors of a state_dict.
func countValues(weights *pt.Dict) (n int64) {
	for _, value := range weights.All() {
		if t, ok := value.(*pt.Tensor); ok {
			n += int64(len(t.Data)) / t.DType.Size()
		}
	}
	return n
}

// estimate returns the memory of training on a GPU: see [train.EstimateMemory].
func estimate(network engine.Network, config runconfig.Config) memoryEstimate {
	m := memoryEstimate{Precision: engine.EstimatedPrecision(config.Train.Precision), Checkpoint: int64(3+len(config.Train.EMARates)+len(config.Train.PowerEMA)) * 4 * network.NumParameters()}
	batch := config.Train.BatchSize
	microbatch := batch
	if 0 < config.Train.Microbatch && config.Train.Microbatch < batch {
		microbatch = config.Train.Microbatch
	}
	whole := train.EstimateMemory(network, config, batch, microbatch)
	m.State, m.Training = whole.State, whole.Bytes()
	m.PerImage = imageBytes(network, config, config.Model.UseCheckpoint)
	return m
}

// imageBytes returns the memory of an additional image in a microbatch.
func imageBytes(network engine.Network, config runconfig.Config, checkpointing bool) int64 {
	config.Model.UseCheckpoint = checkpointing
	const many = 1024 // activations dominate
	step := func(images int) int64 { return train.EstimateMemory(network, config, images, images).Step }
	return step(many+1) - step(many)
}
