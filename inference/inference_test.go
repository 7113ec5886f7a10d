package inference

import (
	"bytes"
	"context"
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/wangkuiyi/gotorch"

	"iddpm/diffusion"
	"iddpm/model"
)

// tinyConfig is a network of images of 8 pixels.
func tinyConfig() model.Config {
	return model.Config{ImageSize: 8, InChannels: 3, NumChannels: 32, NumResBlocks: 1, ChannelMult: []float64{1}, NumHeads: 1}
}

// tinyModel returns a network with random weights and a diffusion of 4 timesteps.
func tinyModel(t *testing.T, c model.Config) (m *Model) {
	t.Helper()
	gotorch.Run(func() {
		u, err := c.UNet()
		if err != nil {
			t.Fatal(err)
		}
		network, err := model.New(u, 5)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range network.Tensors() { // the output layer begins with zeros
			gotorch.NoGrad(func() { p.AddI(gotorch.FullOn(p.Device(), gotorch.Float, 0.01), 1) })
		}
		process, err := diffusion.New(diffusion.Config{Steps: 4, NoiseSchedule: diffusion.Cosine}, gotorch.Device{})
		if err != nil {
			t.Fatal(err)
		}
		m = New(network, Options{Config: c, Diffusion: process})
	})
	t.Cleanup(m.Free)
	return m
}

func classConditional() model.Config {
	c := tinyConfig()
	c.ClassCond, c.NumClasses = true, 3
	return c
}

func superResolution() model.Config {
	c := tinyConfig()
	c.ImageSize, c.SmallSize = 16, 8
	return c
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// near reports whether images differ by at most one grey level.
func near(a, b []byte) bool {
	for i := range a {
		if d := int(a[i]) - int(b[i]); d < -1 || d > 1 {
			return false
		}
	}
	return len(a) == len(b)
}

func TestSampleZeroOptions(t *testing.T) {
	m := tinyModel(t, tinyConfig())
	one := must[Samples](t)(m.Sample(context.Background(), SampleOptions{}))
	if one.Count != 1 || one.Len() != 1 || one.Size != 8 || one.Labels != nil {
		t.Fatalf("%d of %d samples of %d pixels, labels %v", one.Len(), one.Count, one.Size, one.Labels)
	}
	again := must[Samples](t)(m.Sample(context.Background(), SampleOptions{}))
	if !bytes.Equal(one.Pixels, again.Pixels) {
		t.Error("the same options give other samples")
	}
}

// TestSampleFirst checks that a sample depends on its index and the seed, not on the batch.
func TestSampleFirst(t *testing.T) {
	m := tinyModel(t, classConditional())
	all := must[Samples](t)(m.Sample(context.Background(), SampleOptions{Count: 5, BatchSize: 2, Seed: 3}))
	part := must[Samples](t)(m.Sample(context.Background(), SampleOptions{Count: 3, First: 2, Seed: 3}))
	if !near(part.Pixels, all.Pixels[2*all.BytesPerImage():]) || !slices.Equal(part.Labels, all.Labels[2:]) {
		t.Errorf("the last samples differ from those of the whole set, of classes %v and %v", part.Labels, all.Labels)
	}
}

func TestSampleClasses(t *testing.T) {
	m := tinyModel(t, classConditional())
	got := must[Samples](t)(m.Sample(context.Background(), SampleOptions{Count: 3, Classes: []int64{2, 1}}))
	if !slices.Equal(got.Labels, []int64{2, 1, 2}) {
		t.Errorf("labels %v", got.Labels)
	}
	_, err := m.Sample(context.Background(), SampleOptions{Classes: []int64{3}})
	if e := (*ClassError)(nil); !errors.As(err, &e) || e.Label != 3 {
		t.Errorf("class 3 of 3: %v", err)
	}
}

// TestSampleKeepsBatches ends sampling in the third batch.
func TestSampleKeepsBatches(t *testing.T) {
	m := tinyModel(t, tinyConfig())
	ctx, cancel := context.WithCancel(context.Background())
	var last Progress
	o := SampleOptions{Count: 5, BatchSize: 2, Progress: func(p Progress) error {
		if last = p; p.Step == 9 {
			cancel()
		}
		return nil
	}}
	got, err := m.Sample(ctx, o)
	if !errors.Is(err, context.Canceled) || got.Count != 4 || got.Len() != 4 {
		t.Errorf("%d samples, %v", got.Len(), err)
	}
	if last.Step != 9 || last.Steps != 12 || last.Images != 4 || last.Count != 5 || last.First != 4 || last.T != 3 || last.Timesteps != 4 {
		t.Errorf("progress %+v", last)
	}
	failed := errors.New("failed")
	o.Progress = func(Progress) error { return failed }
	if _, err := m.Sample(context.Background(), o); !errors.Is(err, failed) {
		t.Errorf("the callback's error is %v", err)
	}
}

// TestInterpolateEnds checks that the path begins and ends with the first samples of the seeds.
func TestInterpolateEnds(t *testing.T) {
	m := tinyModel(t, tinyConfig())
	path := must[Samples](t)(m.Interpolate(context.Background(), 3, 9, SampleOptions{Count: 3}))
	for i, seed := range map[int]uint64{0: 3, 2: 9} {
		alone := must[Samples](t)(m.Sample(context.Background(), SampleOptions{Sampler: diffusion.DDIM, Seed: seed}))
		if !near(alone.Pixels, path.Image(i)) {
			t.Errorf("image %d is not the first sample of seed %d", i, seed)
		}
	}
}

// TestInvert inverts samples: DDIM reconstructs them from the latents.
func TestInvert(t *testing.T) {
	m := tinyModel(t, classConditional())
	o := SampleOptions{Count: 3, Sampler: diffusion.DDIM, Classes: []int64{1}}
	images := must[Samples](t)(m.Sample(context.Background(), o)).Images
	found := must[Inversion](t)(m.Invert(context.Background(), images, InvertOptions{BatchSize: 2, Classes: o.Classes, Refine: 3, Unclipped: true}))
	if found.Latents.Len() != 3 || len(found.PSNR) != 3 || !slices.Equal(found.Reconstructed.Labels, []int64{1, 1, 1}) {
		t.Fatalf("%d latents, PSNR %v, labels %v", found.Latents.Len(), found.PSNR, found.Reconstructed.Labels)
	}
	again := must[Samples](t)(m.Sample(context.Background(), SampleOptions{Sampler: diffusion.DDIM, Latents: &found.Latents, Unclipped: true}))
	if !near(again.Pixels, found.Reconstructed.Pixels) || !slices.Equal(again.Labels, found.Reconstructed.Labels) {
		t.Error("the latents give other images than their reconstructions")
	}
	if _, err := m.Invert(context.Background(), images, InvertOptions{}); !errors.Is(err, ErrNeedsClasses) {
		t.Errorf("without classes: %v", err)
	}
}

func TestUpsample(t *testing.T) {
	m := tinyModel(t, superResolution())
	small := Images{Size: 8, Pixels: make([]byte, 2*8*8*3)}
	got := must[Samples](t)(m.Upsample(context.Background(), small, SampleOptions{}))
	if got.Len() != 2 || got.Size != 16 || bytes.Equal(got.Image(0), got.Image(1)) {
		t.Errorf("%d samples of %d pixels", got.Len(), got.Size)
	}
	more := must[Samples](t)(m.Upsample(context.Background(), small, SampleOptions{Count: 3}))
	if more.Len() != 3 || !near(more.Pixels[:len(got.Pixels)], got.Pixels) {
		t.Errorf("%d samples of 2 images", more.Len())
	}
	_, err := m.Upsample(context.Background(), got.Images, SampleOptions{})
	if e := (*SizeError)(nil); !errors.As(err, &e) || e.Got != 16 || e.Want != 8 {
		t.Errorf("images of 16 pixels: %v", err)
	}
	if _, err := m.Sample(context.Background(), SampleOptions{}); !errors.Is(err, ErrNeedsImages) {
		t.Errorf("without images: %v", err)
	}
	if _, err := tinyModel(t, tinyConfig()).Upsample(context.Background(), small, SampleOptions{}); !errors.Is(err, ErrNotSuperRes) {
		t.Errorf("another network: %v", err)
	}
}

// TestUpsamplingHasItsOwnNoise compares the noise of both networks of a cascade: one seed, other
// numbers.
func TestUpsamplingHasItsOwnNoise(t *testing.T) {
	noise := func(c model.Config) []float32 {
		m := &Model{config: c}
		return m.noise(7, 0, 1).XT().Permute([]int64{0, 2, 3, 1}).Contiguous().Float32s() // in the order of their counters
	}
	gotorch.Scope(func() {
		small, large := noise(tinyConfig()), noise(superResolution())
		for i := range small {
			if small[i] == large[i] {
				t.Fatalf("number %d, %g, is in both", i, small[i])
			}
		}
	})
}

// TestSampleNonFinite samples with a weight that is NaN.
func TestSampleNonFinite(t *testing.T) {
	m := tinyModel(t, tinyConfig())
	denoise := m.denoise
	m.denoise = func(x, at gotorch.Tensor, cond diffusion.Cond) gotorch.Tensor {
		return denoise(x, at, cond).MulScalar(math.NaN())
	}
	_, err := m.Sample(context.Background(), SampleOptions{Count: 2, First: 3})
	if e := (*NonFiniteError)(nil); !errors.As(err, &e) || e.First != 3 || e.Last != 4 {
		t.Errorf("%v", err)
	}
}

// TestLikelihood resumes an evaluation, to the same bits, and refuses images that do not fit.
func TestLikelihood(t *testing.T) {
	m := tinyModel(t, classConditional())
	images := Images{Size: 8, Pixels: make([]byte, 5*8*8*3), Labels: []int64{0, 1, 2, 0, 1}}
	for i := range images.Pixels {
		images.Pixels[i] = byte(i * 11)
	}
	var last Progress
	var first diffusion.BPDSum
	o := LikelihoodOptions{BatchSize: 2, Progress: func(p Progress) error { last = p; return nil }}
	o.AfterRound = func(sum diffusion.BPDSum) error {
		if sum.Len() == 2 {
			first = sum
		}
		return nil
	}
	whole := must[diffusion.BPDSum](t)(m.Likelihood(context.Background(), images.Source(), images.Len(), o))
	if whole.Len() != 5 || len(whole.VB) != 4 || last.Step != 12 || last.Steps != 12 || last.Images != 5 {
		t.Fatalf("%d images, %d timesteps, progress %+v", whole.Len(), len(whole.VB), last)
	}
	o.From = first
	rest := must[diffusion.BPDSum](t)(m.Likelihood(context.Background(), images.Source(), images.Len(), o))
	if !slices.Equal(rest.Total, whole.Total) || last.Steps != 8 {
		t.Errorf("%v in two parts, %v at once; progress %+v", rest.Total, whole.Total, last)
	}
	images.Labels = nil
	if _, err := m.Likelihood(context.Background(), images.Source(), images.Len(), o); !errors.Is(err, ErrNeedsClasses) {
		t.Errorf("without classes: %v", err)
	}
}
