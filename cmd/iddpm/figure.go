package main

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"iddpm/figure"
	"iddpm/internal/cli"
)

// figureOptions are the flags that all figures share.
type figureOptions struct {
	remoteOptions
	out  string
	json bool
}

func (o *figureOptions) options(name string) []cli.Option {
	return append(o.remoteOptions.options(), []cli.Option{
		{Name: "out", Alias: "o", Category: cli.CategoryRun, Local: true, Value: &o.out, Standard: name + ".png",
			Usage: "write `FILE`.png, .svg and .csv; any of the three names is accepted"},
		cli.JSONOption(&o.json),
	}...)
}

func figureSpecs() []figureSpec {
	return []figureSpec{varianceRatioFigure, vlbTermsFigure, noisingFigure, skipStepsFigure, samplingStepsFigure, alphaBarFigure,
		learningCurvesFigure, gradientNoiseFigure, scheduleCompareFigure, fewStepsFigure}
}

func (p *program) figureCommand() *urfave.Command {
	var commands []*urfave.Command
	for _, spec := range figureSpecs() {
		commands = append(commands, p.figureSubcommand(spec))
	}
	return &urfave.Command{
		Name:      "figure",
		Usage:     "plot the paper's figures",
		UsageText: "iddpm figure NAME [CKPT_OR_RUN_DIR...] [-o FILE]",
		Description: `Plots a figure of Improved DDPM from a noise schedule, checkpoints or run folders, as a PNG, an SVG
and a CSV of its values. "iddpm figure NAME --help" describes each figure.

Examples:
  iddpm figure alpha-bar
  iddpm figure noising photos/cat.jpg -o cat.png
  iddpm figure learning-curves linear=runs/001-custom cosine=runs/002-custom -o curves.png
  iddpm figure schedule-compare linear:1000 cosine:4000 cosine:4000:ddim50`,
		HideHelpCommand: true,
		Subcommands:     commands,
	}
}

func (p *program) figureSubcommand(spec figureSpec) *urfave.Command {
	flags, _ := spec.begin()
	return &urfave.Command{
		Name:            spec.name,
		Usage:           spec.usage,
		UsageText:       strings.TrimRight("iddpm figure "+spec.name+" "+spec.arguments, " ") + " [FLAGS]",
		Description:     spec.description,
		Flags:           cli.FlagsOf(append(flags, new(figureOptions).options(spec.name)...)...),
		HideHelpCommand: true,
		Action:          func(c *urfave.Context) error { return p.figure(c, spec) },
	}
}

// figureResult is what figure prints.
type figureResult struct {
	Figure string `json:"figure"`
	PNG    string `json:"png"`
	SVG    string `json:"svg"`
	CSV    string `json:"csv"`
}

func (p *program) figure(c *urfave.Context, spec figureSpec) error {
	var o figureOptions
	options, draw := spec.begin()
	if err := cli.Apply(c, append(options, o.options(spec.name)...)); err != nil {
		return err
	}
	if o.out == "" {
		o.out = spec.name + ".png"
	}
	// Invalid names and folders are errors before hours of evaluation.
	if _, _, _, err := figure.Paths(o.out); err != nil {
		return cli.Errorf("--out: %w", err)
	}
	if spec.arguments == "" && c.NArg() > 0 {
		return cli.Errorf("iddpm figure %s accepts only flags, not %s", spec.name, strings.Join(c.Args().Slice(), " "))
	}
	s := p.newSession(o.json, p.logJSON.Load()) // only some figures have --log-json
	args := c.Args().Slice()
	for i, arg := range args {
		var err error
		if args[i], err = s.remotes(o.remoteOptions).LocalRun(c.Context, arg, spec.weights); err != nil {
			return err
		}
	}
	release, err := cli.MakeFolder(filepath.Dir(o.out), "-o")
	if err != nil {
		return err
	}
	defer release()
	d, err := draw(c.Context, s, args)
	if err != nil {
		return err
	}
	files, err := d.Save(o.out)
	if err != nil {
		return err
	}
	return s.emit(figureResult{spec.name, files[0], files[1], files[2]}, func(w io.Writer) error {
		_, err := fmt.Fprintln(w, strings.Join(files, "\n"))
		return err
	})
}
