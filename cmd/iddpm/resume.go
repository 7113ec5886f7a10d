package main

import (
	"errors"

	"github.com/urfave/cli/v2"
)

func resumeOptions(r *runOptions, steps *int) []option {
	return append(r.sessionOptions.options(),
		option{name: "steps", category: categoryTraining, value: steps, standard: "as before", usage: "stop after `N` steps in all"},
		option{name: "run-dir", category: categoryRun, value: &r.dir, standard: "the run's own", usage: "go on in `DIR`"},
	)
}

func (p *program) resumeCommand() *cli.Command {
	return &cli.Command{
		Name:      "resume",
		Usage:     "go on with a run",
		UsageText: "iddpm resume CKPT_OR_RUN_DIR [FLAGS]",
		Description: `Goes on exactly where a checkpoint stood: settings, weights, optimizer, averages and the place in
the data are in it. Of a run folder the newest readable checkpoint counts.

Examples:
  iddpm resume runs/001-emoji
  iddpm resume runs/001-emoji --steps 10000
  iddpm resume runs/001-emoji/checkpoints/ckpt-000500.pt --run-dir runs/from-500`,
		Flags:           flagsOf(resumeOptions(newRunOptions(), new(int))...),
		HideHelpCommand: true,
		Action:          p.resume,
	}
}

func (p *program) resume(c *cli.Context) error {
	r, steps := newRunOptions(), 0
	from, err := argument(c, "CKPT_OR_RUN_DIR")
	if err := errors.Join(err, apply(c, resumeOptions(r, &steps))); err != nil {
		return err
	}
	s, err := p.open(r.sessionOptions)
	if err != nil {
		return err
	}
	return s.resume(c.Context, from, r.dir, steps)
}
