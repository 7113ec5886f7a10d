package evaluate

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"math"

	"github.com/wangkuiyi/gotorch"

	"iddpm/data"
)

// Run computes the metrics of samples. The zero value of each optional field works; one of Weights
// and Classify is needed.
type Run struct {
	Samples   []*data.Dataset // the parts of one set, of images of one size
	Reference *Reference      // optional: without it only the Inception Score is computed
	Weights   string          // file of the Inception network's weights; "": only the accuracy of Classify is computed
	Classify  Classify        // optional: a classifier of the samples, whose labels are then needed
	Device    gotorch.Device
	BatchSize int    // optional: 64 on a GPU, 16 on a CPU
	SaveStats string // optional: write the samples' statistics and features to this .npz

	// Progress is optional. It is called before the first batch of a set, after each batch, and
	// before the metrics are computed.
	Progress func(Progress)
}

// The sets of a run.
const (
	SamplesSet   = "samples"
	ReferenceSet = "reference"
)

// Progress is the state of a run.
type Progress struct {
	Set        string   // SamplesSet or ReferenceSet; "": computing the metrics
	Classified bool     // the set is classified, rather than its features computed
	Sources    []string // names of the set's parts
	Images, Of int      // images of the set whose features are computed, and all
}

// Metrics are the results of a run. Those that the run does not allow are nil.
type Metrics struct {
	FID, SFID         *float64
	InceptionScore    *float64
	InceptionScoreStd *float64 // over splits of 5000 samples
	Precision, Recall *float64
	KID               *KID
	ReferenceImages   int   // images of the reference whose features are known
	NoPrecision       error // why Precision and Recall are nil, if their computation failed
	NoKID             error // the same of KID
	Classes           *ClassAccuracy
}

// Check returns a [TooFewImagesError] if a set is too small for what Run computes.
func (r *Run) Check() error {
	n := 0
	for _, part := range r.Samples {
		n += part.Len()
	}
	switch ref := r.Reference; {
	case n < 2 && (ref != nil || r.SaveStats != ""):
		return &TooFewImagesError{SamplesSet}
	case ref != nil && ref.Images != nil && ref.Known.Pool == nil && ref.Images.Len() < 2:
		return &TooFewImagesError{ReferenceSet}
	}
	return nil
}

// Compute computes the metrics, on the tensor thread. FID is defined for float32 features:
// TF32 must be off, by [gotorch.Settings]. Its errors may wrap a [WeightsError] or a [ReferenceError].
func (r *Run) Compute(ctx context.Context) (m Metrics, err error) {
	if r.Classify != nil {
		m.Classes, err = r.classify(ctx)
	}
	if err == nil && r.Weights != "" {
		err = r.computeInception(ctx, &m)
	}
	return m, err
}

// classify classifies the samples.
func (r *Run) classify(ctx context.Context) (*ClassAccuracy, error) {
	a := new(ClassAccuracy)
	return a, r.eachBatch(ctx, Progress{Set: SamplesSet, Classified: true}, r.Samples, func(batch data.Batch, size int) error {
		likeliest, err := r.Classify(batch.Pixels, size)
		if err == nil {
			a.add(batch.Labels, likeliest)
		}
		return err
	})
}

// computeInception fills in the metrics of Inception features.
func (r *Run) computeInception(ctx context.Context, m *Metrics) error {
	network, err := Load(r.Weights, r.Device)
	if err != nil {
		return &WeightsError{r.Weights, err}
	}
	defer network.Free()
	samples, err := r.Features(ctx, network, SamplesSet, r.Samples...)
	if err != nil {
		return err
	}
	score, std := network.InceptionScore(samples.Features())
	if m.InceptionScore, m.InceptionScoreStd = &score, &std; math.IsNaN(score) {
		return fmt.Errorf("%s: the Inception network returns NaN for the samples: its weights are damaged", r.Weights)
	}
	if r.Reference == nil && r.SaveStats == "" {
		return nil
	}
	own, err := statisticsOf(samples)
	if err == nil && r.Reference != nil {
		err = r.compare(ctx, network, own, m)
	}
	if err == nil {
		err = ctx.Err()
	}
	if err == nil && r.SaveStats != "" {
		err = own.Save(r.SaveStats)
	}
	return err
}

// compare fills in the metrics that need the reference.
func (r *Run) compare(ctx context.Context, network *Inception, own SavedStatistics, m *Metrics) error {
	known, err := r.known(ctx, network)
	if err != nil {
		return err
	}
	r.report(Progress{})
	if m.FID, err = distance(ctx, own.Pool, known.Pool); err == nil && known.Spatial != nil {
		m.SFID, err = distance(ctx, own.Spatial, known.Spatial)
	}
	if err != nil || !known.Features.Defined() {
		return err
	}
	m.ReferenceImages = int(known.Features.Size(0))
	m.compareFeatures(ctx, known.Features.To(r.Device), own.Features)
	return ctx.Err()
}

// compareFeatures fills in the metrics that need the features of each image.
func (m *Metrics) compareFeatures(ctx context.Context, reference, samples gotorch.Tensor) {
	precision, recall, err := PrecisionRecall(reference, samples)
	if m.NoPrecision = err; err == nil {
		m.Precision, m.Recall = &precision, &recall
	}
	kid, err := KernelInceptionDistance(ctx, samples, reference)
	if m.NoKID = err; err == nil {
		m.KID = &kid
	}
}

// known returns the reference's statistics, with the features of its images if it has some.
// Statistics of its file take precedence: they may cover more images.
func (r *Run) known(ctx context.Context, network *Inception) (SavedStatistics, error) {
	known := r.Reference.Known
	if r.Reference.Images == nil {
		return known, nil
	}
	set, err := r.Features(ctx, network, ReferenceSet, r.Reference.Images)
	if err != nil {
		return known, err
	}
	if known.Pool != nil {
		known.Features = set.Features()
		return known, nil
	}
	if known, err = statisticsOf(set); err != nil {
		err = &ReferenceError{err}
	}
	return known, err
}

func distance(ctx context.Context, a, b *Statistics) (*float64, error) {
	d, err := FrechetDistance(ctx, *a, *b)
	return &d, err
}

func statisticsOf(s *Set) (SavedStatistics, error) {
	pool, err := s.Pool()
	if err != nil {
		return SavedStatistics{}, err
	}
	spatial, err := s.Spatial()
	return SavedStatistics{Pool: &pool, Spatial: &spatial, Features: s.Features()}, err
}

// Features computes the Inception features of every image of a set, part by part. Of r it needs only Device
// and the optional BatchSize and Progress. The set belongs to the caller's scope, or must be freed.
func (r *Run) Features(ctx context.Context, network *Inception, name string, parts ...*data.Dataset) (*Set, error) {
	n := 0
	for _, part := range parts {
		n += part.Len()
	}
	set := network.NewSet(n)
	err := r.eachBatch(ctx, Progress{Set: name}, parts, func(batch data.Batch, size int) error { return set.Add(batch.Pixels, size) })
	if err != nil {
		set.Free()
		return nil, err
	}
	return set, nil
}

// eachBatch calls do with every batch of a set's parts, whose images have size pixels a side, and
// reports the progress.
func (r *Run) eachBatch(ctx context.Context, at Progress, parts []*data.Dataset, do func(batch data.Batch, size int) error) error {
	for _, part := range parts {
		at.Of, at.Sources = at.Of+part.Len(), append(at.Sources, part.Name())
	}
	r.report(at)
	for _, part := range parts {
		err := r.batchesOf(ctx, part, func(batch data.Batch) error {
			if err := do(batch, part.ImageSize()); err != nil {
				return err
			}
			at.Images += len(batch.Pixels) / (3 * part.ImageSize() * part.ImageSize())
			r.report(at)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// batchesOf calls do with all batches of a part.
func (r *Run) batchesOf(ctx context.Context, part *data.Dataset, do func(data.Batch) error) error {
	loader, err := data.NewLoader(part, data.LoaderOptions{BatchSize: r.batchSize(), Deterministic: true, End: int64(part.Len())})
	if err != nil {
		return err
	}
	defer loader.Close()
	for {
		batch, err := loader.Next(ctx)
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = do(batch)
		}
		if err != nil {
			return err
		}
		loader.Recycle(batch)
	}
}

func (r *Run) batchSize() int { return cmp.Or(max(r.BatchSize, 0), defaultBatchSize(r.Device)) }

func (r *Run) report(at Progress) {
	if r.Progress != nil {
		r.Progress(at)
	}
}
