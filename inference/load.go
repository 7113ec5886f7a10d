package inference

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/wangkuiyi/gotorch"

	"iddpm/checkpoint"
	"iddpm/diffusion"
	"iddpm/distributed"
	"iddpm/model"
	"iddpm/train/engine"
)

// LoadOptions say which weights of a checkpoint to use, and how to compute with them. The zero
// value uses the default weights on the CPU.
type LoadOptions struct {
	Device gotorch.Device
	// EMA is the decay rate of the EMA weights to use, or "none" for the weights of the last
	// step. "": see [checkpoint.Checkpoint.Weights].
	EMA string
	// Precision is the compute precision: fp32, tf32, bf16, fp16, or auto ("" too).
	Precision string
	// Respacing selects a subset of the timesteps, see [diffusion.SpaceTimesteps]; "logsnr20" is about
	// 20 that are even in log-SNR, see [diffusion.EvenLogSNR]. "": that of the checkpoint,
	// usually all.
	Respacing string

	// Group are the processes that work together; nil: this process alone. All processes must
	// call the methods of their models in the same order, with the same options.
	Group *distributed.Group
	// OnCaptureFailed, if not nil, is called where CUDA graph capture fails and steps run
	// eagerly, which is slower.
	OnCaptureFailed func(error)
}

// Load loads the network of a checkpoint file, or of the newest checkpoint of a run folder. The
// error of an option is an [*OptionError]. Files of bare weights hold no configuration: those of
// published networks are known, others are an error: read them by [checkpoint.Load], set Config,
// perhaps by [checkpoint.Checkpoint.Complete], and use [FromCheckpoint].
func Load(path string, o LoadOptions) (*Model, error) {
	c, err := checkpoint.Load(path)
	if err != nil {
		return nil, err
	}
	if c.Bare {
		if err := c.CompletePublished(); err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	m, err := FromCheckpoint(c, o)
	if err := errors.Join(err, c.Close()); err != nil {
		return nil, err
	}
	return m, nil
}

// FromCheckpoint builds the network and the diffusion of a checkpoint that has been read.
func FromCheckpoint(c *checkpoint.Checkpoint, o LoadOptions) (m *Model, err error) {
	err = o.Group.OnTensorThread(func() error {
		m, err = fromCheckpoint(c, o)
		return err
	})
	return m, err
}

func fromCheckpoint(c *checkpoint.Checkpoint, o LoadOptions) (*Model, error) {
	dtype, tf32, err := engine.InferencePrecision(cmp.Or(o.Precision, "auto"), o.Device)
	if err != nil {
		return nil, &OptionError{"precision", err}
	}
	config := c.Config.Diffusion
	config.TimestepRespacing = cmp.Or(o.Respacing, config.TimestepRespacing)
	if err := config.Validate(); err != nil {
		return nil, &OptionError{"timestep-respacing", err}
	}
	process, err := diffusion.New(config, o.Device)
	if err != nil {
		return nil, err
	}
	weights, err := c.Weights(o.EMA)
	if err != nil {
		return nil, err
	}
	network, err := c.Network(o.EMA, o.Device)
	if err != nil {
		return nil, err
	}
	network.Freeze(dtype)
	m := New(network, Options{
		Config: c.Config.Model, Diffusion: process, Dtype: dtype, Classes: c.TrainedClasses(),
		Device: o.Device, Group: o.Group, OnCaptureFailed: o.OnCaptureFailed,
	})
	m.weights, m.owned, m.settings = weights, network, gotorch.Settings{TF32: tf32}
	return m, nil
}

// LoadClassifier builds the classifier that config describes with the weights of a checkpoint.
// Respacing and Group of o are not used: timesteps are those of the guided model.
func LoadClassifier(c *checkpoint.Checkpoint, config model.ClassifierConfig, o LoadOptions) (classifier *Classifier, err error) {
	err = o.Group.OnTensorThread(func() error {
		classifier, err = loadClassifier(c, config, o)
		return err
	})
	return classifier, err
}

func loadClassifier(c *checkpoint.Checkpoint, config model.ClassifierConfig, o LoadOptions) (*Classifier, error) {
	dtype, tf32, err := engine.InferencePrecision(cmp.Or(o.Precision, "auto"), o.Device)
	if err != nil {
		return nil, &OptionError{"precision", err}
	}
	weights, err := c.Weights(o.EMA)
	if err != nil {
		return nil, err
	}
	e, err := config.Encoder()
	if err != nil {
		return nil, err
	}
	network, err := model.NewClassifier(e, 0)
	if err != nil {
		return nil, err
	}
	if err := network.LoadStateDict(weights.Dict); err != nil {
		network.Free()
		return nil, fmt.Errorf("classifier %s: %w", c.Path, err)
	}
	network.To(o.Device)
	network.Freeze(dtype)
	return &Classifier{
		config: config, network: network, dtype: dtype, device: o.Device, gradient: engine.ClassGradient(network, model.Input{Dtype: dtype}), settings: gotorch.Settings{TF32: tf32},
	}, nil
}

// Settings returns the process-wide settings for [gotorch.Configure] with which the precision of
// [LoadOptions] is meant to be used; the zero value for a model of [New]. Loading applies none.
func (m *Model) Settings() gotorch.Settings { return m.settings }

// Weights returns which weights of the checkpoint the network has; zero for one of [New].
func (m *Model) Weights() checkpoint.Weights { return m.weights }

// Free frees the captured CUDA graphs, and the network unless it came from the caller of [New].
func (m *Model) Free() {
	gotorch.Run(func() {
		m.graphs.Close()
		if m.owned != nil {
			m.owned.Free()
		}
	})
}
