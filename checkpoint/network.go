package checkpoint

import (
	"errors"
	"fmt"

	"github.com/wangkuiyi/gotorch"

	"iddpm/model"
)

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

// ErrClassifier says that a checkpoint is of a classifier, not of a denoiser.
var ErrClassifier = errors.New("holds a classifier, which only guides the sampling of a denoiser")

// denoiser returns the arguments of the checkpoint's denoiser.
func (c *Checkpoint) denoiser() (model.UNetConfig, error) {
	if c.Config.Classifier != nil {
		return model.UNetConfig{}, fmt.Errorf("checkpoint %s %w", c.Path, ErrClassifier)
	}
	return c.Config.Model.UNet()
}

// Check returns the error that [Checkpoint.Network] returns for weights that are missing
// or do not fit, without building the network.
func (c *Checkpoint) Check(ema string) error {
	u, err := c.denoiser()
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
	u, err := c.denoiser()
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
