package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	urfave "github.com/urfave/cli/v2"
	"github.com/wangkuiyi/gotorch/pt"
	"github.com/wangkuiyi/gotorch/safetensors"

	"iddpm/checkpoint"
	"iddpm/internal/cli"
)

func (p *program) exportCommand() *urfave.Command {
	return &urfave.Command{
		Name:      "export",
		Usage:     "export weights as a PyTorch state_dict or safetensors",
		UsageText: "iddpm export CKPT_OR_RUN_DIR -o FILE [FLAGS]\niddpm export CKPT_OR_RUN_DIR --reference-layout DIR",
		Description: `Exports the weights of a checkpoint as a bare PyTorch state_dict, as safetensors, or the whole
training state as the files that improved-diffusion resumes from: model010000.pt,
ema_0.9999_010000.pt and opt010000.pt. "iddpm resume model010000.pt" reads such files, too.

A .safetensors file holds the run's configuration in its metadata, so that all commands use it
like a checkpoint, without flags; only resume needs the training state.

--format diffusers writes a folder of Hugging Face's diffusers, with unet/, scheduler/,
model_index.json and a model card, README.md: DDPMPipeline.from_pretrained(FOLDER) loads it.

Examples:
  iddpm export runs/001-emoji -o emoji.pt
  iddpm export runs/001-emoji -o emoji.safetensors --ema none
  iddpm sample emoji.safetensors
  iddpm export runs/001-emoji --format diffusers -o emoji-diffusers --license mit
  iddpm export runs/001-emoji --reference-layout theirs`,
		Flags:           cli.FlagsOf(new(exportOptions).options()...),
		HideHelpCommand: true,
		Action:          p.export,
	}
}

// exported is the result that export prints.
type exported struct {
	Checkpoint string   `json:"checkpoint"`
	Step       int      `json:"step"`
	Weights    string   `json:"weights,omitempty"`
	Files      []string `json:"files"`
}

func (p *program) export(c *urfave.Context) error {
	o := new(exportOptions)
	path, err := argument(c, "CKPT_OR_RUN_DIR")
	if err := errors.Join(err, cli.Apply(c, o.options())); err != nil {
		return err
	}
	if err := o.complete(); err != nil {
		return err
	}
	s := p.newSession(o.json, false)
	checkpoint, err := s.remotes(o.remoteOptions).Checkpoint(c.Context, path)
	if err != nil {
		return err
	}
	if err := o.checkPlace(checkpoint); err != nil {
		return err
	}
	result := exported{Checkpoint: checkpoint.Path, Step: checkpoint.Step}
	switch {
	case o.layout != "":
		result.Files, err = checkpoint.WriteReference(o.layout)
	case o.format == formatDiffusers:
		result.Weights, result.Files, err = s.exportDiffusers(checkpoint, o)
	default:
		result.Files = []string{o.out}
		result.Weights, err = s.exportWeights(checkpoint, o)
	}
	if err != nil {
		return err
	}
	return s.emit(result, func(w io.Writer) error {
		_, err := fmt.Fprintln(w, strings.Join(result.Files, "\n"))
		return err
	})
}

// exportWeights writes the weights that --ema names, by default those that sample uses, and returns
// their name.
func (s *session) exportWeights(c *checkpoint.Checkpoint, o *exportOptions) (name string, err error) {
	weights, err := c.Weights(o.ema)
	if err != nil {
		return "", err
	}
	s.logWeights(c, weights)
	if o.format == "pt" {
		return weights.Name, pt.WriteFile(o.out, weights.Dict)
	}
	file, err := c.ExportSafetensors(o.ema)
	if err != nil {
		return "", err
	}
	return weights.Name, safetensors.WriteFile(o.out, file)
}
