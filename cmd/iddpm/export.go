package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	urfave "github.com/urfave/cli/v2"
	"github.com/wangkuiyi/gotorch/pt"
	"github.com/wangkuiyi/gotorch/safetensors"

	"iddpm/internal/cli"
	"iddpm/train"
)

// exportOptions are the flags of export.
type exportOptions struct {
	remoteOptions
	format string
	ema    string
	out    string
	layout string
	json   bool

	scheduler string // of --format diffusers
	license   string
}

func (o *exportOptions) options() []cli.Option {
	return append(o.remoteOptions.options(), []cli.Option{
		{Name: "format", Category: cli.CategoryRun, Value: &o.format, Standard: "by the name of -o", Usage: "file format `FORMAT`: pt, safetensors, or diffusers: a folder that DDPMPipeline.from_pretrained loads"},
		cli.EMAOption(&o.ema, cli.CategoryRun),
		{Name: "out", Alias: "o", Category: cli.CategoryRun, Local: true, Value: &o.out, Usage: "write one state_dict to `FILE`, or the files of diffusers to the folder FILE"},
		{Name: "scheduler", Category: cli.CategoryRun, Value: &o.scheduler, Standard: "ddpm", Usage: "with --format diffusers, the scheduler `NAME`: ddpm, or ddim, which leaves out learned variances"},
		{Name: "license", Category: cli.CategoryRun, Value: &o.license, Standard: "not stated", Usage: "with --format diffusers, the licence `NAME` in the model card, as the Hugging Face hub spells it: mit"},
		{Name: "reference-layout", Category: cli.CategoryRun, Local: true, Value: &o.layout, Usage: "write model, ema and opt files to `DIR`, as improved-diffusion saves them"},
		cli.JSONOption(&o.json),
	}...)
}

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

// complete checks the flags, and derives the format from the name of the file.
func (o *exportOptions) complete() error {
	switch {
	case o.layout != "" && o.out != "":
		return cli.Errorf("choose one of -o FILE and --reference-layout DIR")
	case o.layout != "" && (o.format != "" || o.ema != ""):
		return cli.Errorf("--reference-layout writes all weights, as .pt: omit --format and --ema")
	case o.layout != "":
		return nil
	case o.out == "-":
		return cli.Errorf("-o -: weights are not written to standard output: name a file")
	case o.out == "":
		return cli.Errorf("name a file by -o FILE, or a folder by --reference-layout DIR")
	case o.format == "" && strings.HasSuffix(o.out, ".safetensors"):
		o.format = "safetensors"
	case o.format == "":
		o.format = "pt"
	}
	if o.format != "pt" && o.format != "safetensors" && o.format != formatDiffusers {
		return cli.Errorf("--format %s is not one of pt, safetensors, diffusers", o.format)
	}
	return o.checkDiffusers()
}

// checkPlace refuses to write among the checkpoints of a run, or over the checkpoint itself.
func (o *exportOptions) checkPlace(c *train.Checkpoint) error {
	dir := o.layout
	if dir == "" {
		dir = filepath.Dir(o.out)
	}
	if err := refuseRunsOwn(dir); err != nil {
		return err
	}
	from, err := os.Stat(c.Path)
	there, missing := os.Stat(o.out)
	if err == nil && missing == nil && os.SameFile(from, there) {
		return cli.Errorf("-o %s is the checkpoint itself: name another file", o.out)
	}
	return nil
}

// exportWeights writes the weights that --ema names, by default those that sample uses, and returns
// their name.
func (s *session) exportWeights(c *train.Checkpoint, o *exportOptions) (name string, err error) {
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
