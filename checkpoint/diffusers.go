package checkpoint

import (
	"errors"
	"fmt"

	"iddpm/diffusers"
	"iddpm/runconfig"
)

// readDiffusers reads a folder of diffusers' UNet2DModel. The network and the diffusion are those of
// its configurations; the rest is that of a run that was exported, or the defaults.
func readDiffusers(dir string) (*Checkpoint, error) {
	i, err := diffusers.Read(dir)
	if err != nil {
		return nil, err
	}
	c := &Checkpoint{Path: i.Path, Config: runconfig.Defaults(), Model: i.Weights, files: i.Files, mapped: i, notes: i.Notes, Exported: RawWeights, imported: true}
	if err := c.readPipeline(i.Pipeline); err != nil {
		return nil, errors.Join(fmt.Errorf("checkpoint %s: %w", i.Path, err), c.Close())
	}
	return c, nil
}

func (c *Checkpoint) readPipeline(p diffusers.Pipeline) error {
	if text, ok := p.Metadata[metadataConfig]; ok {
		if err := c.readMetadata(text, p.Metadata); err != nil {
			return err
		}
	}
	c.adopt(p)
	return c.Config.Validate()
}

// adopt sets network and diffusion, but not what only training needs.
func (c *Checkpoint) adopt(p diffusers.Pipeline) {
	was, rows := c.Config, p.Model.NumClasses
	c.Config.Model, c.Config.Diffusion = p.Model, p.Diffusion
	if p.Model.ClassCond && was.Model.HasNullClass() {
		c.Config.Model.ClassDropout = was.Model.ClassDropout
		c.Config.Model.SetLabelRows(rows)
	}
	d := &c.Config.Diffusion
	d.UseKL, d.RescaleLearnedSigmas, d.LossWeight = was.Diffusion.UseKL, was.Diffusion.RescaleLearnedSigmas, was.Diffusion.LossWeight
}

// NetworkError says that a network, which is to start from the weights of a checkpoint, computes
// something else with them.
type NetworkError struct {
	Setting     string // by its name in Config's JSON
	Given, Want any
}

func (e *NetworkError) Error() string {
	return fmt.Sprintf("the weights are of a network with %s %v, not %v", e.Setting, e.Want, e.Given)
}

// CheckComputation returns a [*NetworkError] if a run's network has the shapes of a checkpoint from
// diffusers but differs in what shapes do not tell.
func (c *Checkpoint) CheckComputation(config runconfig.Config) error {
	if !c.imported {
		return nil
	}
	a, b := config.Model, c.Config.Model
	for _, x := range []NetworkError{
		{"asymmetric_padding", a.AsymmetricPadding, b.AsymmetricPadding}, {"freq_shift", a.FreqShift, b.FreqShift}, {"norm_eps", a.NormEps, b.NormEps},
		{"num_head_channels", max(a.NumHeadChannels, 0), max(b.NumHeadChannels, 0)}, {"use_new_attention_order", a.NewAttentionOrder, b.NewAttentionOrder},
	} {
		if x.Given != x.Want {
			return &x
		}
	}
	if b.NumHeadChannels <= 0 && a.NumHeads != b.NumHeads {
		return &NetworkError{"num_heads", a.NumHeads, b.NumHeads}
	}
	return nil
}
