package main

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/wangkuiyi/gotorch"

	"iddpm/checkpoint"
	"iddpm/diffusion"
	"iddpm/inference"
	"iddpm/internal/cli"
)

// fewStepsSetting is a sampler with its timesteps.
type fewStepsSetting struct {
	sampler diffusion.Sampler
	spacing diffusion.Spacing
	steps   int // as asked for; there may be fewer
}

func (s fewStepsSetting) String() string {
	return fmt.Sprintf("%s, %s, %d steps", s.sampler, s.spacing, s.steps)
}

// fewStepsOptions are the flags of commands that compare samplers.
type fewStepsOptions struct {
	inferenceOptions
	number    int
	batchSize int
	seed      uint64
	samplers  string
	spacings  string
	steps     []int
}

func newFewStepsOptions() fewStepsOptions {
	return fewStepsOptions{
		inferenceOptions: defaultInference(), number: 64, batchSize: 16,
		samplers: strings.Join(samplerNames(), ","), spacings: "t,logsnr,trimmed", steps: []int{5, 10, 20, 50},
	}
}

func samplerNames() (names []string) {
	for _, s := range diffusion.Samplers() {
		names = append(names, s.String())
	}
	return names
}

func (o *fewStepsOptions) options() []cli.Option {
	spacings := cli.Option{Name: "spacings", Category: cli.CategorySampling, Value: &o.spacings, Usage: "compare the spacings `NAMES` of timesteps: t, logsnr, trimmed"}
	if o.spacings == "" {
		spacings.Standard = "by sampler"
	}
	return append(o.inferenceOptions.options(cli.CategorySampling), spacings,
		cli.Option{Name: "num-samples", Category: cli.CategorySampling, Value: &o.number, Usage: "generate `N` samples by each sampler"},
		cli.Option{Name: "batch-size", Category: cli.CategorySampling, Value: &o.batchSize, Usage: "`N` samples per batch"},
		cli.Option{Name: "seed", Category: cli.CategorySampling, Value: &o.seed, Usage: "random seed `N`; all samplers start from the same noise"},
		cli.Option{Name: "samplers", Category: cli.CategorySampling, Value: &o.samplers, Usage: "compare the samplers `NAMES`, comma-separated"},
		cli.Option{Name: "sampling-steps", Category: cli.CategorySampling, Value: &o.steps, Usage: "compare numbers of timesteps `N,N`"},
	)
}

// settings returns what to compare on a process of T timesteps, ordered by spacing, sampler and steps.
func (o *fewStepsOptions) settings(numTimesteps int) (all []fewStepsSetting, err error) {
	if o.number < 1 || o.batchSize < 1 {
		return nil, cli.Errorf("--num-samples and --batch-size must be above 0, not %d and %d", o.number, o.batchSize)
	}
	samplers, err := parseNames(o.samplers, diffusion.ParseSampler)
	if err != nil {
		return nil, cli.Errorf("--samplers: %w", err)
	}
	spacings, err := o.spacingsOf()
	if err != nil {
		return nil, cli.Errorf("--spacings: %w", err)
	}
	for _, n := range o.steps {
		if n < 2 || n > numTimesteps {
			return nil, cli.Errorf("--sampling-steps %d: it must be from 2 to the %d timesteps of the process", n, numTimesteps)
		}
	}
	for _, spacing := range spacings {
		for _, sampler := range samplers {
			for _, n := range slices.Compact(slices.Sorted(slices.Values(o.steps))) {
				all = append(all, fewStepsSetting{sampler, spacing(sampler), n})
			}
		}
	}
	if len(all) == 0 {
		return nil, cli.Errorf("--sampling-steps names nothing to compare")
	}
	return all, nil
}

// spacingsOf returns the named spacings, or that of each sampler, as functions of it.
func (o *fewStepsOptions) spacingsOf() (all []func(diffusion.Sampler) diffusion.Spacing, err error) {
	if o.spacings == "" {
		return []func(diffusion.Sampler) diffusion.Spacing{diffusion.Sampler.Spacing}, nil
	}
	named, err := parseNames(o.spacings, diffusion.ParseSpacing)
	for _, spacing := range named {
		all = append(all, func(diffusion.Sampler) diffusion.Spacing { return spacing })
	}
	return all, err
}

// parseNames parses a comma-separated list.
func parseNames[T any](text string, parse func(string) (T, error)) (all []T, err error) {
	for name := range strings.SplitSeq(text, ",") {
		v, err := parse(strings.TrimSpace(name))
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, nil
}

// fewStepsModel is a model whose samplers are compared.
type fewStepsModel struct {
	*session
	*inference.Model                  // with all timesteps
	config           diffusion.Config // without respacing
	o                fewStepsOptions
}

// openFewSteps loads a model with all timesteps.
func (s *session) openFewSteps(c *checkpoint.Checkpoint, o fewStepsOptions) (*fewStepsModel, error) {
	if c.Config.Model.SuperRes() {
		return nil, cli.Errorf("%s is a super-resolution network, which cannot sample without low-resolution images", c.Path)
	}
	s.setThreads(o.threads)
	c.Config.Diffusion.TimestepRespacing = ""
	m, err := s.loadModel(c, o.ema, o.computePrecision())
	return &fewStepsModel{s, m, c.Config.Diffusion, o}, err
}

// fullChain is DDIM by all timesteps: the solution of the probability flow ODE that few steps approximate.
func (m *fewStepsModel) fullChain() fewStepsSetting {
	return fewStepsSetting{diffusion.DDIM, diffusion.EvenT, m.config.Steps}
}

// fewStepsSamples are the samples by a setting.
type fewStepsSamples struct {
	inference.Samples
	timesteps int
	seconds   float64
}

// stepsToCapture are enough for every kind of step to be captured: each by its second run.
const stepsToCapture = 4

// sample generates the samples by a setting; to be timed, on a GPU after the first steps of a batch, which
// capture the step.
func (m *fewStepsModel) sample(ctx context.Context, by fewStepsSetting, timed bool) (made fewStepsSamples, err error) {
	c := m.config
	c.TimestepRespacing = by.spacing.Respacing(by.steps, c.Steps)
	process, err := diffusion.New(c, m.device)
	if err != nil {
		return made, err
	}
	model := m.WithProcess(process)
	defer model.Free()
	o := inference.SampleOptions{
		Count: min(m.o.number, m.o.batchSize), BatchSize: m.o.batchSize, Seed: m.o.seed, Sampler: by.sampler, Unclipped: !m.o.clip,
		Progress: func(p inference.Progress) error {
			m.threads.Adapt()
			m.screen.Show(p.Step, p.Steps, by.String()+" ")
			return nil
		},
	}
	if timed && m.device.Type != gotorch.CPU {
		first := o
		first.SkipSteps = max(process.NumTimesteps()-stepsToCapture, 0)
		if _, err := model.Sample(ctx, first); err != nil {
			return made, err
		}
	}
	o.Count = m.o.number
	start := time.Now()
	made.Samples, err = model.Sample(ctx, o)
	made.timesteps, made.seconds = process.NumTimesteps(), time.Since(start).Seconds()
	return made, withRemedy(err, "there is no result")
}

// rms is the root mean square difference of the values of images, in [-1, 1].
func rms(a, b []byte) float64 {
	sum := 0.0
	for i := range a {
		d := (float64(a[i]) - float64(b[i])) / 127.5
		sum += d * d
	}
	return math.Sqrt(sum / float64(cmp.Or(len(a), 1)))
}
