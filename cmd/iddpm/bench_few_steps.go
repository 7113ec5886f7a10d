package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	urfave "github.com/urfave/cli/v2"
	"go.uber.org/zap"

	"iddpm/checkpoint"
	"iddpm/internal/cli"
	"iddpm/runconfig"
)

// benchFewStepsOptions are the flags of bench few-steps.
type benchFewStepsOptions struct {
	sessionOptions
	remoteOptions
	fewStepsOptions
	preset string
}

func newBenchFewStepsOptions() *benchFewStepsOptions {
	return &benchFewStepsOptions{sessionOptions: defaultSession(), fewStepsOptions: newFewStepsOptions()}
}

func (o *benchFewStepsOptions) options() []cli.Option {
	all := append(o.sessionOptions.options(), o.remoteOptions.options()...)
	return append(append(all, o.fewStepsOptions.options()...), cli.PresetOption(&o.preset), cli.ConfigOption())
}

func (p *program) benchFewStepsCommand() *urfave.Command {
	config := runconfig.Defaults()
	options := append(cli.NetworkOptions(&config), newBenchFewStepsOptions().options()...)
	return &urfave.Command{
		Name:      "few-steps",
		Usage:     "measure what samplers lose in few steps, and their time",
		UsageText: "iddpm bench few-steps CKPT_OR_RUN_DIR [FLAGS]",
		Description: `Generates the same samples by every sampler, spacing and number of timesteps, and by DDIM in all
timesteps. Prints the root mean square distance to the latter, of values in [-1, 1], and the
seconds per 64 images. Samplers without noise approximate the same solution, so that the distance
is their error. Those that add noise (ddpm, dpmpp-2m-sde) generate other images, however many steps
they take: their distance is only given for completeness, and iddpm figure sampling-steps compares
them by FID or KID.

Examples:
  iddpm bench few-steps runs/001-emoji
  iddpm bench few-steps runs/001-emoji --samplers ddim,dpmpp-2m --sampling-steps 10,20 --json`,
		Flags:           cli.FlagsOf(options...),
		HideHelpCommand: true,
		Action:          p.benchFewSteps,
	}
}

func (p *program) benchFewSteps(c *urfave.Context) error {
	o := newBenchFewStepsOptions()
	path, err := argument(c, "CKPT_OR_RUN_DIR")
	if err := errors.Join(err, cli.Apply(c, o.options())); err != nil {
		return err
	}
	s, err := p.open(o.sessionOptions)
	if err != nil {
		return err
	}
	checkpoint, err := checkpointWithFlags(c, s.remotes(o.remoteOptions), path, o.preset)
	if err != nil {
		return err
	}
	result, err := s.compareFewSteps(c.Context, checkpoint, o.fewStepsOptions)
	s.screen.Done()
	if err != nil {
		return err
	}
	return s.emit(result, result.text)
}

// fewStepsResult is what bench few-steps prints.
type fewStepsResult struct {
	What       string `json:"what"` // few-steps
	Checkpoint string `json:"checkpoint"`
	Step       int    `json:"step"`
	Weights    string `json:"weights"`
	Device     string `json:"device"`
	NumSamples int    `json:"num_samples"`

	FullChain fewStepsRow   `json:"full_chain"` // DDIM in all timesteps
	Rows      []fewStepsRow `json:"rows"`
}

// fewStepsRow is one setting.
type fewStepsRow struct {
	Sampler       string  `json:"sampler"`
	Spacing       string  `json:"spacing"`
	Steps         int     `json:"steps"` // as asked for
	Timesteps     int     `json:"timesteps"`
	Evaluations   int     `json:"evaluations"`   // of the network, per image
	Deterministic bool    `json:"deterministic"` // adds no noise
	RMS           float64 `json:"rms"`           // distance to the full chain, of values in [-1, 1]
	SecondsPer64  float64 `json:"seconds_per_64_images"`
}

// compareFewSteps samples by every setting and compares with the full chain.
func (s *session) compareFewSteps(ctx context.Context, c *checkpoint.Checkpoint, o fewStepsOptions) (*fewStepsResult, error) {
	settings, err := o.settings(c.Config.Diffusion.Steps)
	if err != nil {
		return nil, err
	}
	m, err := s.openFewSteps(c, o)
	if err != nil {
		return nil, err
	}
	defer m.Free()
	r := &fewStepsResult{What: "few-steps", Checkpoint: c.Path, Step: c.Step, Weights: m.Weights().Name, Device: s.device.String(), NumSamples: o.number}
	s.log.Info("sampling by all timesteps, to compare with", zap.String("checkpoint", c.Path), zap.Int("images", o.number), zap.Int("timesteps", m.config.Steps))
	full, err := m.sample(ctx, m.fullChain(), true)
	if err != nil {
		return nil, err
	}
	r.FullChain = m.row(m.fullChain(), full, full)
	for _, by := range settings {
		made, err := m.sample(ctx, by, true)
		if err != nil {
			return nil, err
		}
		r.Rows = append(r.Rows, m.row(by, made, full))
	}
	return r, nil
}

func (m *fewStepsModel) row(by fewStepsSetting, made, full fewStepsSamples) fewStepsRow {
	return fewStepsRow{
		Sampler: by.sampler.String(), Spacing: by.spacing.String(), Steps: by.steps, Timesteps: made.timesteps, Evaluations: by.sampler.Evaluations(made.timesteps),
		Deterministic: by.sampler.Deterministic(0), RMS: rms(made.Pixels, full.Pixels), SecondsPer64: made.seconds * 64 / float64(m.o.number),
	}
}

// text writes the table.
func (r *fewStepsResult) text(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "spacing\tsampler\tsteps\ttimesteps\tevaluations\tRMS\ts per 64\t")
	noisy := false
	for _, row := range append([]fewStepsRow{r.FullChain}, r.Rows...) {
		mark := ""
		if !row.Deterministic {
			mark, noisy = " *", true
		}
		fmt.Fprintf(t, "%s\t%s%s\t%d\t%d\t%d\t%.4f\t%.3g\t\n", row.Spacing, row.Sampler, mark, row.Steps, row.Timesteps, row.Evaluations, row.RMS, row.SecondsPer64)
	}
	if err := t.Flush(); err != nil || !noisy {
		return err
	}
	_, err := fmt.Fprintln(w, "* adds noise: other images, whose distance is no error")
	return err
}
