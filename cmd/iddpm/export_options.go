package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"iddpm/checkpoint"
	"iddpm/internal/cli"
)

// formatDiffusers is a folder that diffusers loads.
const formatDiffusers = "diffusers"

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

// complete checks the flags, and derives the format from the name of the file.
func (o *exportOptions) complete() error {
	switch {
	case o.layout != "" && o.out != "":
		return cli.Errorf("choose one of -o FILE and --reference-layout DIR")
	case o.layout != "" && (o.format != "" || o.ema != ""):
		return cli.Errorf("--reference-layout writes all weights, as .pt: omit --format and --ema")
	case o.layout != "":
		return o.checkDiffusers()
	case o.out == "-":
		return cli.Errorf("-o -: weights are not written to standard output: name a file")
	case o.out == "":
		return cli.Errorf("name a file by -o FILE, or a folder by --reference-layout DIR")
	case o.format == "" && strings.HasSuffix(o.out, ".safetensors"):
		o.format = "safetensors"
	case o.format == "" && slices.Contains([]string{".onnx", ".gguf", ".h5", ".npz", ".tflite"}, filepath.Ext(o.out)):
		return cli.Errorf("-o %s: weights are written as .pt or .safetensors, or as a folder by --format diffusers", o.out)
	case o.format == "":
		o.format = "pt"
	}
	if o.format != "pt" && o.format != "safetensors" && o.format != formatDiffusers {
		return cli.Errorf("--format %s is not one of pt, safetensors, diffusers", o.format)
	}
	return o.checkDiffusers()
}

// checkPlace refuses to write among the checkpoints of a run, or over the checkpoint itself.
func (o *exportOptions) checkPlace(c *checkpoint.Checkpoint) error {
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

// checkDiffusers checks the flags of the format.
func (o *exportOptions) checkDiffusers() error {
	if o.format != formatDiffusers {
		if o.scheduler != "" || o.license != "" {
			return cli.Errorf("--scheduler and --license are for --format diffusers")
		}
		return nil
	}
	if o.scheduler != "" && o.scheduler != "ddpm" && o.scheduler != "ddim" {
		return cli.Errorf("--scheduler %s is not one of ddpm, ddim", o.scheduler)
	}
	return nil
}
