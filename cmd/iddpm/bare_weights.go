package main

import (
	"errors"
	"fmt"
	"strings"

	urfave "github.com/urfave/cli/v2"
	"go.uber.org/zap"

	"iddpm/checkpoint"
	"iddpm/internal/cli"
	"iddpm/model"
	"iddpm/model/identify"
	"iddpm/runconfig"
)

// bareWeights completes the configuration of bare weights: from their parameter list, the table of
// published networks, a preset and flags.
type bareWeights struct {
	c      *urfave.Context
	log    *zap.Logger
	preset string
}

// complete sets the configuration of a checkpoint. Flags and a preset that contradict the weights
// are an error; they set what the weights' shapes do not determine.
func (b bareWeights) complete(trained *checkpoint.Checkpoint) (checkpoint.Identified, error) {
	config, err := cli.BaseConfig(b.preset)
	if err != nil {
		return checkpoint.Identified{}, err
	}
	found, err := trained.Identify()
	if err != nil {
		return found, fmt.Errorf("checkpoint %s: %w", trained.Path, err)
	}
	if b.preset == "" {
		if config, err = b.identifiedConfig(trained, found); err != nil {
			return found, err
		}
	}
	if err := cli.Configure(b.c, &config, cli.NetworkOptions(&config)); err != nil {
		return found, err
	}
	if found.Network.Pool == "" {
		if config.Model.ClassCond && !b.c.IsSet("num-classes") {
			config.Model.SetLabelRows(found.Network.UNet.NumClasses)
		}
		if wrong := found.Contradictions(config.Model); len(wrong) > 0 {
			return found, b.contradicted(trained, wrong)
		}
		config.Model.StemChannels = found.Network.UNet.StemChannels
		config.Model.InChannels = found.Network.UNet.InChannels
	}
	trained.Config = config
	b.logIdentified(trained, found)
	return found, nil
}

// identifiedConfig returns the configuration that is identified by the weights, for images of the size
// that is identified, or of --image-size.
func (b bareWeights) identifiedConfig(trained *checkpoint.Checkpoint, found checkpoint.Identified) (runconfig.Config, error) {
	config := found.Base()
	scratch := config
	if err := cli.Configure(b.c, &scratch, cli.Select(cli.NetworkOptions(&scratch), "image-size", "large-size", "small-size")); err != nil {
		return config, err
	}
	if scratch.Model.ImageSize == 0 {
		return config, &checkpoint.ImageSizeError{Path: trained.Path, Network: found.Network.String()}
	}
	if b.c.IsSet("image-size") || b.c.IsSet("large-size") {
		config.Model.ImageSize = scratch.Model.ImageSize
	}
	found.Apply(&config)
	return config, nil
}

// shownContradictions is the number of contradictions in an error message.
const shownContradictions = 3

// contradicted names the flags that do not fit the weights, in a line each, and only the first.
func (b bareWeights) contradicted(trained *checkpoint.Checkpoint, wrong []checkpoint.Contradiction) error {
	var lines []string
	for _, x := range wrong {
		lines = append(lines, b.flag(x.Setting)+x.Error())
	}
	return contradiction(trained.Path, lines)
}

// contradiction is the error of settings that do not fit bare weights, of which it shows the first.
func contradiction(path string, lines []string) error {
	if len(lines) == 0 {
		return nil
	}
	if more := len(lines) - shownContradictions; more > 0 {
		lines = append(lines[:shownContradictions], fmt.Sprintf("and %d more", more))
	}
	return cli.Errorf("the weights in %s contradict these settings; omit them, the network is identified by its weights:\n%s", path, strings.Join(lines, "\n"))
}

// flag returns what precedes a setting in an error: the dashes of its flag, or the preset that it
// is from.
func (b bareWeights) flag(setting string) string {
	given := b.c.IsSet(setting)
	if setting == "super-res" {
		given = given || b.c.IsSet("small-size") || b.c.IsSet("large-size")
	}
	if given || b.preset == "" {
		return "--"
	}
	return "--preset " + b.preset + ": "
}

// logIdentified logs what was identified by the weights, and what is only assumed.
func (b bareWeights) logIdentified(trained *checkpoint.Checkpoint, found checkpoint.Identified) {
	about := []zap.Field{zap.String("checkpoint", trained.Path), zap.String("network", found.Network.String())}
	if found.Published != nil {
		b.log.Info("identified a published network by its parameters", append(about, zap.Stringer("published", *found.Published))...)
		return
	}
	if assumed := b.assumed(trained, found); len(assumed) > 0 {
		about = append(about, zap.String("assumed", strings.Join(assumed, ", ")))
	}
	b.log.Info("identified the network by its parameters", about...)
}

// assumed lists the settings that neither the weights nor flags nor a preset determine.
func (b bareWeights) assumed(trained *checkpoint.Checkpoint, found checkpoint.Identified) (left []string) {
	if b.preset != "" {
		return nil
	}
	for _, text := range found.Assumed(trained.Config) {
		name, _, _ := strings.Cut(text, " ")
		if !b.c.IsSet(name) && !b.c.IsSet(map[string]string{"image-size": "large-size", "predict": "predict-xstart"}[name]) {
			left = append(left, text)
		}
	}
	return left
}

// unidentified reports whether an error says that the weights do not identify the whole network.
func unidentified(err error) bool {
	var size *checkpoint.ImageSizeError
	var unknown *identify.Error
	var unfit *model.StateDictError
	return errors.As(err, &size) || errors.As(err, &unknown) || errors.As(err, &unfit)
}
