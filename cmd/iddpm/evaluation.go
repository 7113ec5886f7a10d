package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/wangkuiyi/gotorch"
	"go.uber.org/zap"

	"iddpm/data"
	"iddpm/evaluate"
	"iddpm/train"
)

// evaluation is a run of the evaluate command.
type evaluation struct {
	*session
	o         *evaluateOptions
	size      int // width and height of all images, in pixels
	batchSize int
	samples   []*data.Dataset
	ref       *reference     // nil: none
	r         evaluateResult // filled in step by step
}

// reference is the images or statistics of --ref.
type reference struct {
	name   string
	known  savedStatistics // read from its file
	images *data.Dataset   // nil: it has none, or its statistics suffice
}

// newEvaluation opens the samples, of one file or several, and the reference.
func (s *session) newEvaluation(ctx context.Context, paths []string, o *evaluateOptions) (e *evaluation, err error) {
	e = &evaluation{session: s, o: o, size: o.size, batchSize: o.batchSize}
	switch {
	case e.batchSize > 0:
	case s.device.Type == gotorch.CUDA:
		e.batchSize = 64
	default:
		e.batchSize = 16
	}
	for _, path := range paths {
		if err = e.addSamples(ctx, path); err != nil {
			break
		}
	}
	if err == nil && o.ref != "" {
		if e.ref, err = openReference(o, e.size); err == nil {
			err = e.logResize()
		}
		if err != nil {
			err = fmt.Errorf("--ref: %w", err)
		}
	}
	if err == nil {
		err = e.checkCounts()
	}
	if err != nil {
		e.close()
	}
	return e, err
}

// logResize logs if the images of the reference are resized to the size of the samples.
func (e *evaluation) logResize() error {
	if e.ref.images == nil {
		return nil
	}
	width, height, err := e.ref.images.SizeOf(0)
	if err == nil && min(width, height) != e.size {
		e.log.Info("resizing the reference images to the size of the samples, as for training",
			zap.String("first", fmt.Sprintf("%d x %d pixels", width, height)), zap.Int("image_size", e.size))
	}
	return err
}

// checkCounts rejects sets that are too small for a covariance, before the work.
func (e *evaluation) checkCounts() error {
	switch {
	case e.r.NumSamples < 2 && (e.ref != nil || e.o.stats != ""):
		return fmt.Errorf("%s: one image has no covariance: FID needs at least 2 images, and thousands for a sound estimate", e.r.Samples[0])
	case e.ref != nil && e.ref.images != nil && e.ref.known.pool == nil && e.ref.images.Len() < 2:
		return fmt.Errorf("--ref %s: one image has no covariance: FID needs at least 2 images, and thousands for a sound estimate", e.ref.name)
	}
	return nil
}

// addSamples opens a part of the samples. The first one determines the size.
func (e *evaluation) addSamples(ctx context.Context, path string) error {
	path, err := samplesIn(path)
	if err != nil {
		return err
	}
	size, own := e.o.size, e.o.size == 0
	if own {
		size = data.OwnSize
	}
	set, err := data.Open(path, e.o.settings(size, "", e.o.number))
	if err == nil && own {
		set, err = e.commonSize(ctx, set, path)
	}
	if err != nil {
		return err
	}
	train.LogData(e.log, set)
	e.samples = append(e.samples, set)
	e.r.Samples, e.r.NumSamples = append(e.r.Samples, path), e.r.NumSamples+set.Len()
	if !own {
		return nil
	}
	width, height, err := set.SizeOf(0)
	if err != nil {
		return err
	}
	if width != height {
		e.log.Warn("the samples are not square: cropping to the center", zap.String("in", path), zap.String("first", fmt.Sprintf("%d x %d pixels", width, height)))
	}
	if side := set.ImageSize(); e.size != 0 && side != e.size {
		return wrongUse("%s holds samples of %d pixels, and those before have %d: name a size by --image-size", path, side, e.size)
	}
	e.size = set.ImageSize()
	return nil
}

// commonSize reopens a set with the most frequent size of its images, if that is not the
// first one's, and logs the images of other sizes.
func (e *evaluation) commonSize(ctx context.Context, set *data.Dataset, path string) (*data.Dataset, error) {
	common, others, err := set.CommonSize(ctx)
	side := min(common.Width, common.Height)
	if err == nil && len(others) > 0 {
		e.log.Warn("the samples have several sizes: all are resized to the most frequent one; name another by --image-size",
			zap.String("in", path), zap.String("size", fmt.Sprintf("%d x %d pixels", common.Width, common.Height)),
			zap.Int("others", len(others)), zap.Strings("such as", others[:min(len(others), 5)]))
	}
	if err == nil && (side == 0 || side == set.ImageSize()) {
		return set, nil
	}
	set.Close()
	if err != nil {
		return nil, err
	}
	return data.Open(path, e.o.settings(side, "", e.o.number))
}

// samplesIn returns the .npz of a folder that sample has written: the images in the same
// folder are grids.
func samplesIn(path string) (string, error) {
	entries, err := os.ReadDir(path)
	if err != nil { // no folder, or an error that data.Open reports better
		return path, nil
	}
	var found []string
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), "samples_") && isNPZ(entry.Name()) {
			found = append(found, filepath.Join(path, entry.Name()))
		}
	}
	switch {
	case train.Exists(path):
		return "", wrongUse("%s is a run folder: name the samples to evaluate, as in %s", path, filepath.Join(path, "samples", "step-N"))
	case len(found) == 0:
		return path, nil
	case len(found) > 1:
		return "", wrongUse("%s holds several files of samples: name one, or all parts of one set, of %s", path, strings.Join(found, ", "))
	}
	return found[0], nil
}

// openReference opens the images of --ref, resized to a size, or its statistics, or both.
func openReference(o *evaluateOptions, size int) (r *reference, err error) {
	path, err := samplesIn(o.ref)
	if err != nil {
		return nil, err
	}
	r = &reference{name: path}
	if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && isNPZ(path) {
		if r.known, err = readStatistics(path); err != nil {
			return nil, err
		}
	}
	if r.known.pool != nil && (!r.known.images || r.known.features.Defined()) {
		if o.split != "" || o.numRef > 0 {
			return nil, wrongUse("%s holds statistics: --split and --num-ref need images", path)
		}
		return r, nil
	}
	r.images, err = data.Open(path, o.settings(size, o.split, o.numRef))
	return r, err
}

func (e *evaluation) close() {
	for _, set := range e.samples {
		set.Close()
	}
	if e.ref != nil && e.ref.images != nil {
		e.ref.images.Close()
	}
}

// run computes the Inception features of all images, with the weights of a file, and the
// metrics.
func (e *evaluation) run(ctx context.Context, weights string) (*evaluateResult, error) {
	start := time.Now()
	e.r.ImageSize = e.size
	e.setThreads(e.o.threads)
	gotorch.SetAllowTF32(false) // FID is defined for float32 features
	err := onTensorThread(func() (err error) {
		gotorch.Scope(func() { err = e.compare(ctx, weights) })
		return err
	})
	e.screen.done()
	e.r.Seconds = time.Since(start).Seconds()
	return &e.r, err
}

// compare fills in the result. It runs on the tensor thread.
func (e *evaluation) compare(ctx context.Context, weights string) error {
	r := &e.r
	network, err := evaluate.Load(weights, e.device)
	if err != nil {
		return fmt.Errorf("the Inception network's weights, see --inception: %w", err)
	}
	defer network.Free()
	samples, err := e.features(ctx, network, "samples", e.samples...)
	if err != nil {
		return err
	}
	r.InceptionScore, r.InceptionScoreStd = network.InceptionScore(samples.Features())
	if math.IsNaN(r.InceptionScore) {
		return fmt.Errorf("%s: the Inception network returns NaN for the samples: its weights are damaged", weights)
	}
	if e.ref == nil && e.o.stats == "" {
		return nil
	}
	own := savedStatistics{features: samples.Features()}
	if own.pool, own.spatial, err = statisticsOf(samples); err != nil {
		return err
	}
	if e.ref != nil {
		if err := e.compareWith(ctx, network, own); err != nil {
			return err
		}
	}
	if e.o.stats == "" || ctx.Err() != nil {
		return ctx.Err()
	}
	r.Stats = e.o.stats
	return own.save(e.o.stats)
}

// compareWith fills in the metrics that need the reference.
func (e *evaluation) compareWith(ctx context.Context, network *evaluate.Inception, own savedStatistics) (err error) {
	r, known := &e.r, e.ref.known
	r.Ref = e.ref.name
	if e.ref.images != nil {
		set, err := e.features(ctx, network, "reference", e.ref.images)
		if err != nil {
			return err
		}
		known.features = set.Features()
		if known.pool == nil { // otherwise the file's cover more images
			if known.pool, known.spatial, err = statisticsOf(set); err != nil {
				return fmt.Errorf("--ref: %w", err)
			}
		}
	}
	e.log.Info("computing metrics")
	if r.FID, err = frechet(own.pool, known.pool); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if known.spatial != nil {
		if r.SFID, err = frechet(own.spatial, known.spatial); err != nil {
			return err
		}
	}
	if !known.features.Defined() || ctx.Err() != nil {
		return ctx.Err()
	}
	r.NumRef = int(known.features.Size(0))
	precision, recall, err := evaluate.PrecisionRecall(known.features.To(e.device), own.features)
	if err != nil {
		e.log.Warn("cannot compute precision and recall", zap.Error(err))
		return nil
	}
	r.Precision, r.Recall = &precision, &recall
	return ctx.Err()
}

func frechet(a, b *evaluate.Statistics) (*float64, error) {
	d, err := evaluate.FrechetDistance(*a, *b)
	return &d, err
}

func statisticsOf(s *evaluate.Set) (pool, spatial *evaluate.Statistics, err error) {
	p, err := s.Pool()
	if err != nil {
		return nil, nil, err
	}
	q, err := s.Spatial()
	return &p, &q, err
}

// features computes the Inception features of every image of a set, part by part.
func (e *evaluation) features(ctx context.Context, network *evaluate.Inception, what string, parts ...*data.Dataset) (*evaluate.Set, error) {
	n, names := 0, []string{}
	for _, part := range parts {
		n, names = n+part.Len(), append(names, part.Name())
	}
	e.log.Info("computing Inception features of the "+what, zap.Strings("data", names), zap.Int("images", n), zap.Stringer("device", e.device))
	if n < evaluate.PoolFeatures {
		e.log.Warn("fewer images than features: FID is biased upwards and hardly comparable. Papers use 50,000", zap.String("of", what), zap.Int("images", n))
	}
	set := network.NewSet(n)
	for _, part := range parts {
		err := e.add(ctx, set, part, func() {
			e.reportProgress(set.Len(), n, fmt.Sprintf("%s %d/%d ", what, set.Len(), n), "computing Inception features", zap.String("of the", what), zap.Int("images", set.Len()), zap.Int("of", n))
		})
		if err != nil {
			return nil, err
		}
	}
	e.screen.done() // the next set has its own bar
	return set, nil
}

// add adds all images of a part.
func (e *evaluation) add(ctx context.Context, set *evaluate.Set, part *data.Dataset, reportProgress func()) error {
	loader, err := data.NewLoader(part, data.LoaderOptions{BatchSize: e.batchSize, Deterministic: true, End: int64(part.Len())})
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
			err = set.Add(batch.Pixels, e.size)
		}
		if err != nil {
			return err
		}
		loader.Recycle(batch)
		e.threads.Adapt()
		reportProgress()
	}
}
