package inference

import (
	"cmp"
	"context"

	"github.com/wangkuiyi/gotorch"

	"iddpm/diffusion"
	"iddpm/distributed"
	"iddpm/streams"
	"iddpm/train/engine"
)

// defaultBatchSize is the batch size where options do not say.
const defaultBatchSize = 16

// SampleOptions say what to sample, and how. The zero value generates one image by ancestral
// sampling.
type SampleOptions struct {
	Count     int    // images to generate; 0: one, or one for each of Latents or of the images to upsample
	First     int    // index of the first sample of the seed's sequence
	BatchSize int    // images per batch in each process; 0: 16
	Seed      uint64 // sample i is a function of Seed and First + i

	Sampler   diffusion.Sampler // update rule; few timesteps, see [LoadOptions].Respacing, need a second-order one
	Eta       float64           // DDIM's eta, 0 (deterministic) to 1 (as much noise as ancestral sampling)
	Unclipped bool              // do not clip the predicted x_0 to [-1, 1]
	SkipSteps int               // leave out that many timesteps at the start of the reverse process

	Guidance   *Guidance           // nil: none
	Classifier *ClassifierGuidance // nil: none

	Classes []int64  // labels, used in turn; nil: at random among the trained classes, or those of Classifier
	Latents *Latents // x_T, instead of noise; with a deterministic sampler
	Edit    *Edit    // images to start from, instead of noise alone; sets SkipSteps

	Inpaint *Inpaint // known pixels to keep; nil: none

	// AllRanks keeps the samples in all processes, not only in rank 0.
	AllRanks bool
	// Progress, if not nil, is called after every step. Its error ends sampling.
	Progress func(Progress) error
}

// Samples are generated images: whole batches.
type Samples struct {
	Images     // in rank 0, or with AllRanks in all processes
	Count  int // images that all processes have generated
}

// Sample generates images by one of the samplers of package diffusion. Several processes generate a
// batch each at a time. If ctx ends or an error occurs, the samples so far are returned with the
// error. Samples that are not finite are a [*NonFiniteError].
func (m *Model) Sample(ctx context.Context, o SampleOptions) (Samples, error) {
	if m.config.SuperRes() {
		return Samples{}, ErrNeedsImages
	}
	s := &sampling{Model: m, SampleOptions: o}
	if l := o.Latents; l != nil {
		if err := l.check(m); err != nil {
			return Samples{}, err
		}
		s.Count = min(cmp.Or(o.Count, l.Len()), l.Len())
		s.xT = func(first, n int, _ diffusion.NoiseSource) gotorch.Tensor { return l.tensor(first, n, m.device) }
		s.given = l.Labels
	}
	if e := o.Edit; e != nil {
		if err := e.check(m); err != nil {
			return Samples{}, err
		}
		s.Count = cmp.Or(o.Count, e.Images.Len())
		if e.Strength == 0 {
			return Samples{Images: e.Images.inTurn(o.First, s.Count), Count: s.Count}, nil
		}
		s.start(e)
	}
	if p := o.Inpaint; p != nil {
		if err := p.check(m); err != nil {
			return Samples{}, err
		}
		s.Count, s.given = cmp.Or(o.Count, p.Images.Len()), p.Images.labelsFrom(o.First)
	}
	return s.run(ctx)
}

// sampling is a call of Sample, Interpolate or Upsample.
type sampling struct {
	*Model
	SampleOptions
	counter counter
	guided  *diffusion.Guidance           // from Guidance
	by      *diffusion.ClassifierGuidance // from Classifier

	xT       func(first, n int, noise diffusion.NoiseSource) gotorch.Tensor // where the reverse process starts; nil: noise
	lowRes   Images                                                         // to upsample, in turn
	given    []int64                                                        // labels of images, in turn, where Classes does not say; nil: at random
	oneClass bool                                                           // all images have the class of the first
}

// start sets where sampling starts.
func (s *sampling) start(e *Edit) {
	s.given = e.Images.labelsFrom(s.First)
	if e.Strength == 1 {
		return
	}
	s.SkipSteps = e.skipped(s.process)
	s.xT = func(first, n int, noise diffusion.NoiseSource) gotorch.Tensor {
		images := e.Images.inTurn(s.First+first, n)
		t := s.process.NumTimesteps() - 1 - s.SkipSteps
		return s.process.QSample(images.tensor(s.device), s.process.AtStep(t, int64(n)), noise.XT())
	}
}

// batchOf is what one process contributes to a round: the fields travel between processes.
type batchOf struct {
	Pixels []byte
	Labels []int64
}

func (s *sampling) run(ctx context.Context) (all Samples, err error) {
	s.Count, s.BatchSize = max(s.Count, 1), cmp.Or(s.BatchSize, defaultBatchSize)
	all.Size = s.config.ImageSize
	if err := s.checkLabels(s.Classes); err != nil {
		return all, err
	}
	round := s.BatchSize * s.group.Size()
	s.counter = counter{callback: s.Progress, count: s.Count, perRound: round, perBatch: s.process.NumTimesteps() - s.SkipSteps}
	if s.Inpaint != nil {
		s.counter.perBatch = s.Inpaint.Steps(s.counter.perBatch)
	}
	err = s.group.OnTensorThread(func() (err error) {
		if err := s.prepareGuidance(); err != nil {
			return err
		}
		for first := 0; first < s.Count; first += round {
			if err := s.round(ctx, first, &all); err != nil {
				return err
			}
		}
		return nil
	})
	return all, err
}

// prepareGuidance checks the guides and passes them on to the sampling loop.
func (s *sampling) prepareGuidance() (err error) {
	s.setGuides(s.Guidance, s.Classifier)
	if s.guided, err = s.guidance(s.Guidance); err != nil {
		return err
	}
	if s.by, err = s.classifierGuidance(s.Classifier); err != nil || s.by == nil {
		return err
	}
	return checkLabels(s.Classes, s.Classifier.Classifier.NumClasses())
}

// round generates a batch in each process and gathers them.
func (s *sampling) round(ctx context.Context, first int, all *Samples) (err error) {
	var mine batchOf
	first += s.group.Rank() * s.BatchSize
	if n := min(s.BatchSize, s.Count-first); n > 0 {
		mine, err = s.batch(ctx, first, n)
	}
	if err = s.group.SyncResult(ctx, err); err != nil {
		return err
	}
	batches, err := distributed.AllGather(s.group, mine)
	if err != nil {
		return err
	}
	for _, b := range batches {
		all.Count += len(b.Pixels) / all.BytesPerImage()
		if s.group.IsLeader() || s.AllRanks {
			all.Append(b.Pixels, b.Labels)
		}
	}
	return nil
}

// batch generates n images; first counts from o.First.
func (s *sampling) batch(ctx context.Context, first, n int) (b batchOf, err error) {
	gotorch.Scope(func() {
		noise := s.noise(s.Seed, s.First+first, n)
		start := noise.XT
		if s.xT != nil {
			start = func() gotorch.Tensor { return s.xT(first, n, noise) }
		}
		labels := s.labels(first, n)
		cond := s.cond(labels)
		if s.by != nil { // also where the network has no classes
			cond.Y = gotorch.FromInt64s(labels).To(s.device)
		}
		cond.LowRes = s.lowResTensor(first, n)
		var known *knownPixels
		var inpainting *diffusion.Inpainting
		if s.Inpaint != nil {
			known = s.Inpaint.batch(s.First+first, n)
			inpainting = s.Inpaint.inpainting(known, noise)
		}
		var x gotorch.Tensor
		x, err = s.process.SampleLoop(ctx, s.denoise, start(), cond, diffusion.SampleOptions{
			Sampler: s.Sampler, Eta: s.Eta, NoClipDenoised: s.Unclipped, SkipSteps: s.SkipSteps, Guidance: s.guided, Classifier: s.by, Inpainting: inpainting,
			Noise: noise.At, GraphCache: &s.graphs, Progress: s.counter.step(first, s.process.NumTimesteps()),
		})
		if err == nil && !engine.Finite(x) {
			err = &NonFiniteError{What: "samples", First: s.First + first, Last: s.First + first + n - 1}
		}
		if err == nil {
			b = batchOf{engine.TensorToPixels(x), labels}
			if known != nil {
				known.paste(b.Pixels)
			}
		}
	})
	return b, err
}

// lowResTensor returns the low-resolution images of a batch, [n, 3, h, w] in [-1, 1]; undefined if
// there are none.
func (s *sampling) lowResTensor(first, n int) gotorch.Tensor {
	if s.lowRes.Len() == 0 {
		return gotorch.Tensor{}
	}
	batch := s.lowRes.inTurn(first, n)
	return batch.tensor(s.device)
}

// labels returns the classes of n images, nil without class conditioning.
func (s *sampling) labels(first, n int) []int64 {
	if !s.config.ClassCond && s.Classifier == nil {
		return nil
	}
	labels := make([]int64, n)
	for i := range labels {
		switch {
		case len(s.Classes) > 0:
			labels[i] = s.Classes[(s.First+first+i)%len(s.Classes)]
		case len(s.given) > 0:
			labels[i] = s.given[(first+i)%len(s.given)]
		case s.oneClass:
			labels[i] = s.randomLabel(0)
		default:
			labels[i] = s.randomLabel(s.First + first + i)
		}
	}
	return labels
}

// randomLabel returns the class of sample i of the seed's sequence.
func (s *sampling) randomLabel(i int) int64 {
	key := gotorch.PhiloxKey{Seed: s.Seed, Stream: streams.SampleClass, FirstSample: int64(i)}
	u := gotorch.PhiloxUniform(gotorch.Device{}, gotorch.Double, key, 1).Float64s()[0]
	if !s.config.ClassCond {
		return int64(u * float64(s.Classifier.Classifier.NumClasses()))
	}
	return s.trained[int64(u*float64(len(s.trained)))]
}
