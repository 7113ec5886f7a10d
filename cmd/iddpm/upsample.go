package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/urfave/cli/v2"
	"github.com/wangkuiyi/gotorch"
	"github.com/wangkuiyi/gotorch/npy"

	"iddpm/data"
	"iddpm/train"
)

// cascadeOptions are the flags of a second network, which enlarges what the
// first has drawn.
type cascadeOptions struct {
	path      string
	preset    string
	respacing string
	ddim      bool
	eta       float64
	ema       string
	batchSize int
}

func (o *cascadeOptions) options() []option {
	return []option{
		{name: "upsample", path: true, category: categorySampling, value: &o.path, usage: "upsample the samples with the super-resolution network in `CKPT`"},
		{name: "upsample-preset", category: categorySampling, value: &o.preset, usage: "preset `NAME` of the upsampler, if CKPT holds bare weights"},
		{name: "upsample-timestep-respacing", category: categorySampling, value: &o.respacing, standard: "all", usage: "timesteps of the upsampler, `SPEC`, as for --timestep-respacing"},
		{name: "upsample-use-ddim", category: categorySampling, value: &o.ddim, usage: "use the DDIM sampler for the upsampler"},
		{name: "upsample-eta", category: categorySampling, value: &o.eta, usage: "DDIM's `ETA` of the upsampler, as for --eta"},
		{name: "upsample-ema", category: categorySampling, value: &o.ema, standard: emaDefault, usage: "load the upsampler's EMA weights of decay `RATE`, or none"},
		{name: "upsample-batch-size", category: categorySampling, value: &o.batchSize, standard: "--batch-size", usage: "upsample `N` images per batch"},
	}
}

func (o *cascadeOptions) validate() error {
	switch {
	case o.path == "" && *o != (cascadeOptions{}):
		return wrongUse("--upsample-preset, -timestep-respacing, -use-ddim, -eta, -ema and -batch-size are for --upsample")
	case !(o.eta >= 0 && o.eta <= 1):
		return wrongUse("upsample-eta must be in [0, 1], not %g", o.eta)
	case o.eta > 0 && !o.ddim:
		return wrongUse("upsample-eta is DDIM's: add --upsample-use-ddim")
	case o.batchSize < 0:
		return wrongUse("upsample-batch-size must not be negative, but is %d", o.batchSize)
	}
	return nil
}

// load reads the second network's checkpoint, if one is asked for, and checks
// that it enlarges what the first draws: before that has drawn for hours.
func (o *cascadeOptions) load(ctx context.Context, r *remotes, path string, first *train.Checkpoint) (*train.Checkpoint, error) {
	if path == "" {
		return nil, nil
	}
	second, err := r.checkpointWithPreset(ctx, path, o.preset)
	if err != nil {
		return nil, err
	}
	if second.Bare && o.preset == "" {
		return nil, wrongUse("%s holds weights alone: say by --upsample-preset what network they belong to, or enlarge by a second command, sample --base-samples, with the network's flags", second.Path)
	}
	m, base := &second.Config.Model, first.Config.Model
	if second.Bare && m.ClassCond {
		m.NumClasses = classesOf(second.Model)
	}
	second.Config.Diffusion.TimestepRespacing = o.respacing
	if err := second.Config.Diffusion.Validate(); err != nil {
		return nil, wrongUse("--upsample-timestep-respacing: %w", err)
	}
	switch {
	case !m.SuperRes():
		err = fmt.Errorf("%s is no super-resolution network", second.Path)
	case m.SmallSize != base.ImageSize:
		err = fmt.Errorf("%s enlarges images of %d pixels, and %s draws some of %d", second.Path, m.SmallSize, first.Path, base.ImageSize)
	case m.ClassCond && !base.ClassCond:
		err = fmt.Errorf("%s wants to know classes, and %s draws without", second.Path, first.Path)
	case m.ClassCond && m.NumClasses < base.NumClasses:
		err = fmt.Errorf("%s knows %d classes, and %s draws %d", second.Path, m.NumClasses, first.Path, base.NumClasses)
	case m.ClassCond && !sameClasses(first.ClassNames, second.ClassNames):
		err = fmt.Errorf("%s and %s number their classes differently: enlarge by a second command, sample --base-samples, with --class", first.Path, second.Path)
	default:
		err = second.Check(o.ema)
	}
	return second, err
}

// sameClasses says whether two networks may mean the same by a class's number.
// Bare weights do not know its name.
func sameClasses(first, second []string) bool {
	n := min(len(first), len(second))
	return slices.Equal(first[:n], second[:n])
}

// job is what the second network is to do with the images that the first has drawn.
func (o *cascadeOptions) job(first *sampleJob, drawn *images) *sampleJob {
	options := &sampleOptions{
		sessionOptions: first.sessionOptions, inferenceOptions: first.inferenceOptions,
		first: first.first, batchSize: cmp.Or(o.batchSize, first.batchSize), ddim: o.ddim, eta: o.eta, seed: first.seed,
	}
	options.ema = o.ema
	return &sampleJob{sampleOptions: options, count: drawn.len(), dir: first.dir, base: drawn}
}

// openBase reads the small images of --base-samples that a checkpoint's network is
// to enlarge; nil for a network that enlarges none.
func openBase(path string, c *train.Checkpoint, asked []int64) (*images, error) {
	m := c.Config.Model
	switch {
	case path == "" && !m.SuperRes():
		return nil, nil
	case path == "":
		return nil, wrongUse("%s enlarges images of %d pixels: name some by --base-samples", c.Path, m.SmallSize)
	case !m.SuperRes():
		return nil, wrongUse("--base-samples: %s is no super-resolution network", c.Path)
	}
	read := readBaseSet
	if isNPZ(path) {
		read = readBaseArrays
	}
	base, err := read(path, c, len(asked) > 0)
	if err != nil {
		return nil, fmt.Errorf("--base-samples: %w", err)
	}
	return base, nil
}

// readBaseArrays reads what sample writes: arr_0, uint8 [N, H, W, 3], and arr_1,
// the labels [N].
func readBaseArrays(path string, c *train.Checkpoint, asked bool) (*images, error) {
	arrays, err := npy.ReadNPZ(path)
	if err != nil {
		return nil, err
	}
	m := c.Config.Model
	size := int64(m.SmallSize)
	a := arrays["arr_0"]
	if a == nil || a.DType != npy.Uint8 || len(a.Shape) != 4 || a.Shape[0] < 1 || !slices.Equal(a.Shape[1:], []int64{size, size, 3}) {
		return nil, fmt.Errorf("%s: arr_0 must be uint8 [N, %d, %d, 3], images of the size that %s enlarges", path, size, size, c.Path)
	}
	base := &images{size: m.SmallSize, pixels: a.Data}
	if !m.ClassCond || asked {
		return base, nil
	}
	b := arrays["arr_1"]
	if b == nil {
		return nil, fmt.Errorf("%s has no classes (arr_1), and the network wants to know them: say by --class what the images are", path)
	}
	if base.labels, err = b.Int64s(); err != nil {
		return nil, fmt.Errorf("%s: arr_1: %w", path, err)
	}
	if len(base.labels) != base.len() {
		return nil, fmt.Errorf("%s: arr_1 holds %d classes for %d images", path, len(base.labels), base.len())
	}
	for i, label := range base.labels {
		if label < 0 || label >= int64(m.NumClasses) {
			return nil, fmt.Errorf("%s: image %d is of class %d, and the network knows 0 to %d", path, i, label, m.NumClasses-1)
		}
	}
	return base, nil
}

// readBaseSet reads a folder or a zip; larger images are fitted to the small
// size as those of training are.
func readBaseSet(path string, c *train.Checkpoint, asked bool) (*images, error) {
	options := c.Config.DataOptions()
	options.ImageSize = c.Config.Model.SmallSize
	options.ClassCond = c.Config.Model.ClassCond && !asked
	options.MaxBadImages = 0 // another would stand in for it
	options.CacheBytes = -1  // each is read once
	options.KnownClasses = c.ClassNames
	set, err := data.Open(path, options)
	if e := (*data.UnknownClassError)(nil); errors.As(err, &e) {
		err = fmt.Errorf("%w: say by --class what the images are", err)
	}
	if err != nil {
		return nil, err
	}
	defer set.Close()
	if found, known := set.NumClasses(), c.Config.Model.NumClasses; c.Bare && options.ClassCond && found != known {
		return nil, fmt.Errorf("%s has %d classes, and the network %d without names: say by --class what the images are", set.Name(), found, known)
	}
	base := &images{size: set.ImageSize()}
	for i := range set.Len() {
		pixels, label, err := set.Image(i)
		if err != nil {
			return nil, err
		}
		base.add(pixels, nil)
		if options.ClassCond {
			base.labels = append(base.labels, label)
		}
	}
	return base, nil
}

// lowRes returns the small images that n large ones are made from, [n, 3, h, w]
// in [-1, 1]; where there are fewer of them, they come again.
func (s *sampler) lowRes(first, n int) gotorch.Tensor {
	if s.base == nil {
		return gotorch.Tensor{}
	}
	each := s.base.bytesPerImage()
	var pixels []byte
	for i := first; i < first+n; i++ {
		at := i % s.base.len() * each
		pixels = append(pixels, s.base.pixels[at:at+each]...)
	}
	return tensorOf(pixels, n, s.base.size, s.device)
}

// cascade draws images, and lets a second network enlarge them if there is one.
// Both are written.
func (s *session) cascade(ctx context.Context, first, second *train.Checkpoint, job *sampleJob) (sampleResult, error) {
	result, drawn, err := s.sample(ctx, first, job)
	if err != nil || second == nil {
		return result, err
	}
	enlarged, _, err := s.sample(ctx, second, job.cascade.job(job, drawn))
	if enlarged.NumSamples == 0 { // the small ones are there
		if errors.Is(err, context.Canceled) {
			err = errors.Join(errSavedInPart, err)
		}
		return result, err
	}
	enlarged.Base, enlarged.Progress = result.Samples, result.Progress
	enlarged.files = append(result.files, enlarged.files...)
	return enlarged, err
}

// checkSuperRes refuses what makes no sense with small images.
func (o *sampleOptions) checkSuperRes(c *cli.Context) error {
	for _, name := range []string{"invert", "interpolate", "upsample", "first-sample"} {
		if c.IsSet(name) {
			return wrongUse("--%s is not for super-resolution networks", name)
		}
	}
	return nil
}
