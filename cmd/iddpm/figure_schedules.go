package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"iddpm/data"
	"iddpm/diffusion"
	"iddpm/figure"
	"iddpm/internal/cli"
	"iddpm/runconfig"
	"iddpm/train"
)

var varianceRatioFigure = figureSpec{
	name:  "variance-ratio",
	usage: "posterior variance over beta (figure 1)",
	description: `Plots the ratio of the posterior variance (lower bound of the reverse process variance) to beta
(upper bound) for several numbers of timesteps: figure 1 of the paper. Except for the first
timesteps the two are nearly equal, which is why samples hardly depend on the choice. The x axis is
logarithmic to show the first timesteps.

Example:
  iddpm figure variance-ratio --diffusion-steps 100,1000,10000`,
	begin: func() ([]cli.Option, draw) {
		schedule, steps := diffusion.Linear, []int{100, 1000, 10000}
		return []cli.Option{
				{Name: "noise-schedule", Category: cli.CategoryFigure, Value: &schedule, Usage: "noise schedule `NAME`: " + diffusion.ScheduleNames},
				{Name: "diffusion-steps", Category: cli.CategoryFigure, Value: &steps, Usage: "numbers of timesteps T, `T,T,...`"},
			}, func(context.Context, *session, []string) (drawing, error) {
				return asWrongUse(figure.VarianceRatio(schedule, steps))
			}
	},
}

var alphaBarFigure = figureSpec{
	name:  "alpha-bar",
	usage: "alpha-bar of the linear and the cosine schedule (figure 5)",
	description: `Plots alpha-bar, the fraction of the image's variance left in x_t, for the linear and the cosine
schedule: figure 5 of the paper. The linear schedule destroys the image long before the end.

Example:
  iddpm figure alpha-bar --diffusion-steps 4000`,
	begin: func() ([]cli.Option, draw) {
		steps := 1000
		return []cli.Option{{Name: "diffusion-steps", Category: cli.CategoryFigure, Value: &steps, Usage: "number of timesteps `T` of both schedules"}},
			func(context.Context, *session, []string) (drawing, error) { return asWrongUse(figure.AlphaBar(steps)) }
	},
}

// asWrongUse turns an error of a figure's settings into a usage error.
func asWrongUse[D drawing](d D, err error) (drawing, error) {
	if err != nil {
		return nil, cli.Usage(err)
	}
	return d, nil
}

// noisingOptions are the flags of noising.
type noisingOptions struct {
	figure.NoisingOptions
	size int
	img  string
}

var noisingFigure = figureSpec{
	name:      "noising",
	usage:     "an image noised under the linear and the cosine schedule (figure 3)",
	arguments: "[IMAGE_OR_DIR_OR_ZIP]",
	description: `Shows an image at evenly spaced timesteps of the forward process, linear schedule above and cosine
below: figure 3 of the paper. All use the same noise; values are clipped to the pixel range. The
default image is one of the built-in emoji.

Examples:
  iddpm figure noising
  iddpm figure noising cat.jpg --image-size 128 --columns 7
  iddpm figure noising --picture activities_balloon`,
	begin: func() ([]cli.Option, draw) {
		o := &noisingOptions{NoisingOptions: figure.NoisingOptions{Steps: 1000, Columns: 9}, size: 64}
		return []cli.Option{
			{Name: "diffusion-steps", Category: cli.CategoryFigure, Value: &o.Steps, Usage: "number of timesteps `T` of both schedules"},
			{Name: "columns", Category: cli.CategoryFigure, Value: &o.Columns, Usage: "number of timesteps `N` shown, from 0 to T"},
			{Name: "picture", Category: cli.CategoryFigure, Value: &o.img, Standard: "the first", Usage: "image number `N` of a set, from 0, or the first whose name contains it"},
			{Name: "image-size", Category: cli.CategoryFigure, Value: &o.size, Usage: "resize the image to `N` x N pixels"},
			{Name: "seed", Category: cli.CategoryFigure, Value: &o.Seed, Usage: "random seed `N` of the noise"},
		}, func(_ context.Context, _ *session, args []string) (drawing, error) { return o.draw(args) }
	},
}

// builtInImage is the default image, an emoji with fine lines and plain areas.
const builtInImage = "activities_bamboo"

func (o *noisingOptions) draw(args []string) (drawing, error) {
	if o.size < 1 {
		return nil, cli.Errorf("--image-size must be above 0, not %d", o.size)
	}
	path := ""
	switch len(args) {
	case 0:
		if o.img == "" {
			o.img = builtInImage
		}
	case 1:
		path = args[0]
	default:
		return nil, cli.Errorf("name only one image, not %s", strings.Join(args, " "))
	}
	img, err := o.load(path)
	if err != nil {
		return nil, err
	}
	return asWrongUse(figure.Noising(img, o.NoisingOptions))
}

// load reads the image, resized and cropped as for training.
func (o *noisingOptions) load(path string) (figure.Image, error) {
	set, err := data.Open(path, data.Options{ImageSize: o.size, CacheBytes: -1})
	if err != nil {
		return figure.Image{}, err
	}
	defer set.Close()
	i, err := o.index(set)
	if err != nil {
		return figure.Image{}, err
	}
	pixels, _, err := set.Image(i)
	return figure.Image{Name: filepath.Base(set.ImageName(i)), Size: o.size, RGB: pixels}, err
}

func (o *noisingOptions) index(set *data.Dataset) (int, error) {
	if o.img == "" {
		return 0, nil
	}
	if n, err := strconv.Atoi(o.img); err == nil {
		if n < 0 || n >= set.Len() {
			return 0, cli.Errorf("--picture %d: %s has the images 0 to %d", n, set.Name(), set.Len()-1)
		}
		return n, nil
	}
	for i := range set.Len() {
		if strings.Contains(set.ImageName(i), o.img) {
			return i, nil
		}
	}
	return 0, cli.Errorf("--picture %s: no name among the %d images of %s contains it", o.img, set.Len(), set.Name())
}

var scheduleCompareFigure = figureSpec{
	name:      "schedule-compare",
	usage:     "compare noise schedules",
	arguments: "[NAME:T[:RESPACING] | CKPT_OR_RUN_DIR ...]",
	description: `Plots alpha-bar, the signal-to-noise ratio, beta, and the posterior variance over beta of several
schedules (sections 3.1, 3.2 and 4 of the paper): named ones such as cosine:4000, respaced ones
such as cosine:4000:100 or cosine:4000:ddim50, and those of checkpoints and runs. Default:
linear:4000 and cosine:4000.

Example:
  iddpm figure schedule-compare linear:1000 cosine:4000:100 mine=runs/001-emoji`,
	begin: func() ([]cli.Option, draw) {
		return nil, func(_ context.Context, _ *session, args []string) (drawing, error) { return compareSchedules(args) }
	},
}

func compareSchedules(args []string) (drawing, error) {
	if len(args) == 0 {
		args = []string{"linear:4000", "cosine:4000"}
	}
	var processes []figure.Process
	for _, arg := range args {
		p, err := processOf(arg)
		if err != nil {
			return nil, err
		}
		processes = append(processes, p)
	}
	return figure.CompareSchedules(processes), nil
}

// processOf parses an argument of schedule-compare.
func processOf(arg string) (figure.Process, error) {
	if config, ok, err := parseSchedule(arg); ok || err != nil {
		if err != nil {
			return figure.Process{}, err
		}
		return newProcess("", config)
	}
	sources, err := sourcesOf([]string{arg})
	if err != nil {
		return figure.Process{}, cli.Errorf("%s is neither NAME:T[:RESPACING], such as cosine:4000, nor a file: %w", arg, err)
	}
	config, err := configAt(sources[0].path)
	if err != nil {
		return figure.Process{}, err
	}
	return newProcess(sources[0].name, config.Diffusion)
}

// parseSchedule parses NAME:T[:RESPACING]; ok is false if the argument does not begin with
// the name of a schedule.
func parseSchedule(arg string) (c diffusion.Config, ok bool, err error) {
	name, rest, ok := diffusion.CutNoiseSchedule(arg)
	if !ok {
		return c, false, nil
	}
	if rest == "" {
		return c, true, cli.Errorf("%s: add the number of steps, as in %s:1000", arg, name)
	}
	c.NoiseSchedule = name
	steps, respacing, _ := strings.Cut(rest, ":")
	if c.Steps, err = cli.ParseInt(steps); err != nil {
		return c, true, cli.Errorf("%s: %w", arg, err)
	}
	c.TimestepRespacing = respacing
	if err := c.Validate(); err != nil {
		return c, true, cli.Errorf("%s: %w", arg, err)
	}
	return c, true, nil
}

// newProcess computes a diffusion's schedule, without its tensors.
func newProcess(name string, c diffusion.Config) (figure.Process, error) {
	if name == "" {
		name = fmt.Sprintf("%s, T = %d", c.NoiseSchedule, c.Steps)
		if c.ZeroTerminalSNR {
			name += ", zero terminal SNR"
		}
		if c.TimestepRespacing != "" {
			name += ", respaced to " + c.TimestepRespacing
		}
	}
	p := figure.Process{Name: name, Original: c.Steps}
	var err error
	p.Kept, p.Schedule, err = c.Respaced()
	return p, err
}

// configAt returns the configuration of a run folder or a checkpoint.
func configAt(path string) (runconfig.Config, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return train.ReadConfig(path)
	}
	c, err := figureCheckpoint(path, "name its run folder, or the schedule as in cosine:4000")
	if err != nil {
		return runconfig.Config{}, err
	}
	return c.Config, nil
}
