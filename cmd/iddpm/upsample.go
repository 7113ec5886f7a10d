package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	urfave "github.com/urfave/cli/v2"
	"github.com/wangkuiyi/gotorch/npy"

	"iddpm/data"
	"iddpm/inference"
	"iddpm/internal/cli"
	"iddpm/internal/runs"
	"iddpm/train"
)

// cascadeOptions are the flags of a second network, which upsamples the samples of
// the first.
type cascadeOptions struct {
	path      string
	preset    string
	respacing string
	ddim      bool
	eta       float64
	ema       string
	batchSize int
}

func (o *cascadeOptions) options() []cli.Option {
	return []cli.Option{
		{Name: "upsample", Path: true, Category: cli.CategorySampling, Value: &o.path, Usage: "upsample the samples with the super-resolution network in `CKPT`"},
		{Name: "upsample-preset", Category: cli.CategorySampling, Value: &o.preset, Usage: "preset `NAME` of the upsampler, if CKPT holds bare weights"},
		{Name: "upsample-timestep-respacing", Category: cli.CategorySampling, Value: &o.respacing, Standard: "all", Usage: "timesteps of the upsampler, `SPEC`, as for --timestep-respacing"},
		{Name: "upsample-use-ddim", Category: cli.CategorySampling, Value: &o.ddim, Usage: "use the DDIM sampler for the upsampler"},
		{Name: "upsample-eta", Category: cli.CategorySampling, Value: &o.eta, Usage: "DDIM's `ETA` of the upsampler, as for --eta"},
		{Name: "upsample-ema", Category: cli.CategorySampling, Value: &o.ema, Standard: cli.EMADefault, Usage: "load the upsampler's EMA weights of decay `RATE`, or none"},
		{Name: "upsample-batch-size", Category: cli.CategorySampling, Value: &o.batchSize, Standard: "--batch-size", Usage: "upsample `N` images per batch"},
	}
}

func (o *cascadeOptions) validate() error {
	switch {
	case o.path == "" && *o != (cascadeOptions{}):
		return cli.Errorf("--upsample-preset, -timestep-respacing, -use-ddim, -eta, -ema and -batch-size are for --upsample")
	case !(o.eta >= 0 && o.eta <= 1):
		return cli.Errorf("upsample-eta must be in [0, 1], not %g", o.eta)
	case o.eta > 0 && !o.ddim:
		return cli.Errorf("upsample-eta is an option of DDIM: add --upsample-use-ddim")
	case o.batchSize < 0:
		return cli.Errorf("upsample-batch-size must not be negative, but is %d", o.batchSize)
	}
	return nil
}

// load reads the second network's checkpoint, if there is one, and checks that it upsamples
// the samples of the first: before the first samples for hours.
func (o *cascadeOptions) load(ctx context.Context, r *runs.Remotes, path string, first *train.Checkpoint) (*train.Checkpoint, error) {
	if path == "" {
		return nil, nil
	}
	second, err := checkpointWithPreset(ctx, r, path, o.preset)
	if err != nil {
		return nil, err
	}
	if second.Bare && o.preset == "" {
		return nil, cli.Errorf("%s holds bare weights: name their network by --upsample-preset, or upsample by a second command, sample --base-samples, with the model flags", second.Path)
	}
	m, base := &second.Config.Model, first.Config.Model
	if second.Bare && m.ClassCond {
		m.NumClasses = classesOf(second.Model)
	}
	second.Config.Diffusion.TimestepRespacing = o.respacing
	if err := second.Config.Diffusion.Validate(); err != nil {
		return nil, cli.Errorf("--upsample-timestep-respacing: %w", err)
	}
	switch {
	case !m.SuperRes():
		err = fmt.Errorf("%s is no super-resolution network", second.Path)
	case m.SmallSize != base.ImageSize:
		err = fmt.Errorf("%s upsamples images of %d pixels, but %s generates images of %d", second.Path, m.SmallSize, first.Path, base.ImageSize)
	case m.ClassCond && !base.ClassCond:
		err = fmt.Errorf("%s is class-conditional, but %s is not", second.Path, first.Path)
	case m.ClassCond && m.NumClasses < base.NumClasses:
		err = fmt.Errorf("%s has %d classes, but %s has %d", second.Path, m.NumClasses, first.Path, base.NumClasses)
	case m.ClassCond && !sameClasses(first.ClassNames, second.ClassNames):
		err = fmt.Errorf("%s and %s number their classes differently: upsample by a second command, sample --base-samples, with --class", first.Path, second.Path)
	default:
		err = second.Check(o.ema)
	}
	return second, err
}

// sameClasses reports whether labels may mean the same classes in two networks.
// Bare weights have no class names.
func sameClasses(first, second []string) bool {
	n := min(len(first), len(second))
	return slices.Equal(first[:n], second[:n])
}

// job returns the job of the second network: to upsample the samples of the first.
func (o *cascadeOptions) job(first *sampleJob, small *inference.Images) *sampleJob {
	options := &sampleOptions{
		sessionOptions: first.sessionOptions, inferenceOptions: first.inferenceOptions,
		first: first.first, batchSize: cmp.Or(o.batchSize, first.batchSize), ddim: o.ddim, eta: o.eta, seed: first.seed,
	}
	options.ema = o.ema
	return &sampleJob{sampleOptions: options, count: small.Len(), dir: first.dir, base: small}
}

// openBase reads the low-resolution images of --base-samples; nil for a network without
// super-resolution.
func openBase(path string, c *train.Checkpoint, classes []int64) (*inference.Images, error) {
	m := c.Config.Model
	switch {
	case path == "" && !m.SuperRes():
		return nil, nil
	case path == "":
		return nil, cli.Errorf("%s upsamples images of %d pixels: name some by --base-samples", c.Path, m.SmallSize)
	case !m.SuperRes():
		return nil, cli.Errorf("--base-samples: %s is no super-resolution network", c.Path)
	}
	read := readBaseSet
	if cli.IsNPZ(path) {
		read = readBaseArrays
	}
	base, err := read(path, c, len(classes) > 0)
	if err != nil {
		return nil, fmt.Errorf("--base-samples: %w", err)
	}
	return base, nil
}

// readBaseArrays reads the file that sample writes: arr_0, uint8 [N, H, W, 3], and arr_1,
// the labels [N], unless hasClasses says that they are known.
func readBaseArrays(path string, c *train.Checkpoint, hasClasses bool) (*inference.Images, error) {
	arrays, err := npy.ReadNPZ(path)
	if err != nil {
		return nil, err
	}
	m := c.Config.Model
	size := int64(m.SmallSize)
	a := arrays["arr_0"]
	if a == nil || a.DType != npy.Uint8 || len(a.Shape) != 4 || a.Shape[0] < 1 || !slices.Equal(a.Shape[1:], []int64{size, size, 3}) {
		return nil, fmt.Errorf("%s: arr_0 must be uint8 [N, %d, %d, 3], images of the size that %s upsamples", path, size, size, c.Path)
	}
	base := &inference.Images{Size: m.SmallSize, Pixels: a.Data}
	if !m.ClassCond || hasClasses {
		return base, nil
	}
	b := arrays["arr_1"]
	if b == nil {
		return nil, fmt.Errorf("%s has no classes (arr_1), but the network is class-conditional: name the classes by --class", path)
	}
	if base.Labels, err = b.Int64s(); err != nil {
		return nil, fmt.Errorf("%s: arr_1: %w", path, err)
	}
	if len(base.Labels) != base.Len() {
		return nil, fmt.Errorf("%s: arr_1 holds %d classes for %d images", path, len(base.Labels), base.Len())
	}
	for i, label := range base.Labels {
		if label < 0 || label >= int64(m.NumClasses) {
			return nil, fmt.Errorf("%s: image %d is of class %d, but the classes of the network are 0 to %d", path, i, label, m.NumClasses-1)
		}
	}
	return base, nil
}

// readBaseSet reads a folder or a zip; larger images are resized and cropped as in
// training. Labels are read unless hasClasses says that they are known.
func readBaseSet(path string, c *train.Checkpoint, hasClasses bool) (*inference.Images, error) {
	options := c.Config.DataOptions()
	options.ImageSize = c.Config.Model.SmallSize
	options.ClassCond = c.Config.Model.ClassCond && !hasClasses
	options.MaxBadImages = 0 // it would be replaced by another image
	options.CacheBytes = -1  // each is read once
	options.KnownClasses = c.ClassNames
	set, err := data.Open(path, options)
	if e := (*data.UnknownClassError)(nil); errors.As(err, &e) {
		err = fmt.Errorf("%w: name the classes of the images by --class", err)
	}
	if err != nil {
		return nil, err
	}
	defer set.Close()
	if found, known := set.NumClasses(), c.Config.Model.NumClasses; c.Bare && options.ClassCond && found != known {
		return nil, fmt.Errorf("%s has %d classes, but the network has %d without names: name the classes of the images by --class", set.Name(), found, known)
	}
	base := &inference.Images{Size: set.ImageSize()}
	for i := range set.Len() {
		pixels, label, err := set.Image(i)
		if err != nil {
			return nil, err
		}
		base.Append(pixels, nil)
		if options.ClassCond {
			base.Labels = append(base.Labels, label)
		}
	}
	return base, nil
}

// cascade generates samples and, if there is a second network, upsamples them with it.
// Both are written.
func (s *session) cascade(ctx context.Context, first, second *train.Checkpoint, job *sampleJob) (sampleResult, error) {
	result, small, err := s.sample(ctx, first, job)
	if err != nil || second == nil {
		return result, err
	}
	upsampled, _, err := s.sample(ctx, second, job.cascade.job(job, &small.Images))
	if upsampled.NumSamples == 0 { // the low-resolution samples are saved
		if errors.Is(err, context.Canceled) {
			err = errors.Join(errSavedInPart, err)
		}
		return result, err
	}
	upsampled.Base, upsampled.Progress = result.Samples, result.Progress
	upsampled.files = append(result.files, upsampled.files...)
	return upsampled, err
}

// checkSuperRes refuses flags that a super-resolution network does not support.
func (o *sampleOptions) checkSuperRes(c *urfave.Context) error {
	for _, name := range []string{"invert", "interpolate", "upsample", "first-sample"} {
		if c.IsSet(name) {
			return cli.Errorf("--%s is not for super-resolution networks", name)
		}
	}
	return nil
}
