package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	urfave "github.com/urfave/cli/v2"
	"github.com/wangkuiyi/gotorch/pt"
	"github.com/wangkuiyi/gotorch/safetensors"
	"go.uber.org/zap"

	"iddpm/checkpoint"
	"iddpm/internal/cli"
	"iddpm/train"
)

// emaOptions are the flags of ema.
type emaOptions struct {
	remoteOptions
	length float64
	step   int
	out    string
	json   bool
}

func (o *emaOptions) options() []cli.Option {
	return append(o.remoteOptions.options(), []cli.Option{
		{Name: "length", Category: cli.CategoryRun, Value: &o.length, Standard: "required", Usage: "length `L` of the EMA, the standard deviation of its profile as a fraction of the training (sigma_rel), at most 0.288"},
		{Name: "at-step", Category: cli.CategoryRun, Value: &o.step, Standard: "the last snapshot's", Usage: "the EMA after step `N`"},
		{Name: "out", Alias: "o", Category: cli.CategoryRun, Local: true, Value: &o.out, Usage: "write the checkpoint to `FILE`, .pt or .safetensors"},
		cli.JSONOption(&o.json),
	}...)
}

func (p *program) emaCommand() *urfave.Command {
	return &urfave.Command{
		Name:      "ema",
		Usage:     "make an EMA of any length after training",
		UsageText: "iddpm ema RUN_DIR --length L -o FILE [FLAGS]",
		Description: `Combines the snapshots of a run's power-function EMAs, which train --power-ema records, to the EMA
of another length or of an earlier step (Karras et al. 2023, arXiv 2312.02696). The best length
depends on the network, the budget, the sampler and guidance, and is expensive to find by training.

The file holds one set of weights with the run's configuration, so that all commands use it like a
checkpoint, without flags; only resume needs the training state. The residual is the distance of
the combination of profiles from the profile of that length, relative to its norm.

Examples:
  iddpm train --preset emoji --power-ema 0.05,0.10 --power-ema-interval 100
  iddpm ema runs/001-emoji --length 0.15 -o ema.pt
  iddpm sample ema.pt`,
		Flags:           cli.FlagsOf(new(emaOptions).options()...),
		HideHelpCommand: true,
		Action:          p.ema,
	}
}

// combined is the result that ema prints.
type combined struct {
	checkpoint.PostHocEMA
	File string `json:"file"`
}

func (p *program) ema(c *urfave.Context) error {
	o := new(emaOptions)
	path, err := argument(c, "RUN_DIR")
	if err := errors.Join(err, cli.Apply(c, o.options())); err != nil {
		return err
	}
	if err := o.validate(c); err != nil {
		return err
	}
	s := p.newSession(o.json, false)
	dir, err := s.remotes(o.remoteOptions).Snapshots(c.Context, path)
	if err != nil {
		return err
	}
	result := combined{File: o.out}
	err = onTensorThread(func() (err error) {
		var averaged *checkpoint.Checkpoint
		if averaged, result.PostHocEMA, err = checkpoint.CombineEMA(train.RunDirOf(dir), o.length, o.step); err != nil {
			return err
		}
		return writeCheckpoint(averaged, o.out)
	})
	if err != nil {
		return err
	}
	s.tellResidual(result.PostHocEMA)
	return s.emit(result, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%s\nlength %g at step %d, from %d snapshots, residual %.2g\n", result.File, result.Length, result.Step, result.Snapshots, result.Residual)
		return err
	})
}

// mostResidual is the residual above which ema warns.
const mostResidual = 0.05

// tellResidual warns if the snapshots do not give the EMA of that length.
func (s *session) tellResidual(e checkpoint.PostHocEMA) {
	if e.Residual > mostResidual {
		s.log.Warn("the snapshots give only an approximation of this EMA", zap.Float64("residual", e.Residual), zap.Int("snapshots", e.Snapshots),
			zap.String("hint", "lengths between those of --power-ema need fewer snapshots; --power-ema-interval saves more"))
	}
}

func (o *emaOptions) validate(c *urfave.Context) error {
	switch {
	case !c.IsSet("length"):
		return cli.Errorf("name the length of the EMA by --length, such as 0.1")
	case o.out == "" || o.out == "-":
		return cli.Errorf("name a file by -o FILE")
	case c.IsSet("at-step") && o.step < 1:
		return cli.Errorf("--at-step %d: steps count from 1", o.step)
	}
	return refuseRunsOwn(filepath.Dir(o.out))
}

// writeCheckpoint writes a checkpoint that holds one set of weights, as safetensors or .pt by the
// name of the file.
func writeCheckpoint(c *checkpoint.Checkpoint, path string) error {
	if strings.HasSuffix(path, ".safetensors") {
		file, err := c.ExportSafetensors("")
		if err != nil {
			return err
		}
		return safetensors.WriteFile(path, file)
	}
	dict, err := c.ExportPT()
	if err != nil {
		return err
	}
	return pt.WriteFile(path, dict)
}
