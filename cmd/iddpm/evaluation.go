package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/wangkuiyi/gotorch"
	"go.uber.org/zap"

	"iddpm/checkpoint"
	"iddpm/data"
	"iddpm/evaluate"
	"iddpm/internal/cli"
	"iddpm/train"
)

// evaluation is a run of the evaluate command.
type evaluation struct {
	*session
	evaluate.Run
	o          *evaluateOptions
	size       int            // width and height of all images, in pixels
	classifier evalClassifier // of --classifier; zero: none
	r          evaluateResult // filled in step by step
}

// newEvaluation opens the samples, of one file or several, and the reference.
func (s *session) newEvaluation(ctx context.Context, paths []string, o *evaluateOptions) (e *evaluation, err error) {
	e = &evaluation{session: s, o: o, size: o.size, Run: evaluate.Run{Device: s.device, BatchSize: o.batchSize, SaveStats: o.stats}}
	e.Progress = e.logProgress
	if e.classifier, err = s.readEvalClassifier(ctx, o); err != nil {
		return e, err
	}
	for _, path := range paths {
		if err = e.addSamples(ctx, path); err != nil {
			break
		}
	}
	if err == nil && o.classifier.path != "" {
		err = e.addClassifier()
	}
	if err == nil && o.ref != "" {
		if err = e.openReference(); err != nil {
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
	if e.Reference.Images == nil {
		return nil
	}
	width, height, err := e.Reference.Images.SizeOf(0)
	if err == nil && min(width, height) != e.size {
		e.log.Info("resizing the reference images to the size of the samples, as for training",
			zap.String("first", fmt.Sprintf("%d x %d pixels", width, height)), zap.Int("image_size", e.size))
	}
	return err
}

// checkCounts names the set that is too small for a covariance, before the work.
func (e *evaluation) checkCounts() error {
	err := e.Check()
	var few *evaluate.TooFewImagesError
	switch {
	case !errors.As(err, &few):
		return err
	case few.Set == evaluate.ReferenceSet:
		return fmt.Errorf("--ref %s: %w", e.Reference.Name, err)
	}
	return fmt.Errorf("%s: %w", e.r.Samples[0], err)
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
	set, err := e.openSamples(path, size)
	if err == nil && own {
		set, err = e.commonSize(ctx, set, path)
	}
	if err != nil {
		return unlabelled(err)
	}
	train.LogData(e.log, set)
	e.Samples = append(e.Samples, set)
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
		return cli.Errorf("%s holds samples of %d pixels, and those before have %d: name a size by --image-size", path, side, e.size)
	}
	e.size = set.ImageSize()
	return nil
}

// openSamples opens samples of a size, with their classes if a classifier needs them.
func (e *evaluation) openSamples(path string, size int) (*data.Dataset, error) {
	return data.Open(path, e.classifier.dataOptions(e.o.settings(size, "", e.o.number), path, e.o.config.Data.Labels))
}

// addClassifier loads the classifier, and checks that it knows the labels of all samples.
func (e *evaluation) addClassifier() error {
	if err := e.classifier.load(e.session, e.size); err != nil {
		return err
	}
	for _, set := range e.Samples {
		if err := e.classifier.checkLabels(set); err != nil {
			return err
		}
	}
	e.Classify = e.classifier.classify
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
			zap.Int("others", len(others)), zap.Strings("examples", others[:min(len(others), 5)]))
	}
	if err == nil && (side == 0 || side == set.ImageSize()) {
		return set, nil
	}
	set.Close()
	if err != nil {
		return nil, err
	}
	return e.openSamples(path, side)
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
		if strings.HasPrefix(entry.Name(), "samples_") && cli.IsNPZ(entry.Name()) {
			found = append(found, filepath.Join(path, entry.Name()))
		}
	}
	switch {
	case checkpoint.HoldsRun(path):
		return "", cli.Errorf("%s is a run folder: name the samples to evaluate, as in %s", path, filepath.Join(path, "samples", "step-N"))
	case len(found) == 0:
		return path, nil
	case len(found) > 1:
		return "", cli.Errorf("%s holds several files of samples: name one, or all parts of one set, of %s", path, strings.Join(found, ", "))
	}
	return found[0], nil
}

// openReference opens the images of --ref, resized to the size of the samples, or its
// statistics, or both.
func (e *evaluation) openReference() error {
	path, err := samplesIn(e.o.ref)
	if err != nil {
		return err
	}
	e.Reference, err = evaluate.OpenReference(path, e.o.settings(e.size, e.o.split, e.o.numRef))
	var only *evaluate.StatisticsOnlyError
	if errors.As(err, &only) {
		return cli.Errorf("%s holds statistics: --split and --num-ref need images", path)
	}
	if err != nil {
		return err
	}
	return e.logResize()
}

func (e *evaluation) close() {
	for _, set := range e.Samples {
		set.Close()
	}
	e.Reference.Close()
	e.classifier.free()
}

// run computes the metrics, with the Inception weights of a file; "" without those that need them.
func (e *evaluation) run(ctx context.Context, weights string) (*evaluateResult, error) {
	start := time.Now()
	e.Weights = weights
	e.setThreads(e.o.threads)
	configure(func(o *gotorch.Settings) { o.TF32 = gotorch.TF32Never }) // FID is defined for float32 features
	var m evaluate.Metrics
	err := onTensorThread(func() (err error) {
		gotorch.Scope(func() { m, err = e.Compute(ctx) })
		return err
	})
	e.screen.Done()
	if err != nil {
		return nil, evaluateAdvice(err)
	}
	if m.NoPrecision != nil {
		e.log.Warn("cannot compute precision and recall", zap.Error(m.NoPrecision))
	}
	if m.NoKID != nil {
		e.log.Warn("cannot compute KID", zap.Error(m.NoKID))
	}
	if m.KID != nil {
		e.r.KID, e.r.KIDStd, e.r.KIDStdErr = &m.KID.Mean, &m.KID.Std, &m.KID.StdErr
	}
	e.r.ImageSize, e.r.Stats = e.size, e.o.stats
	e.r.FID, e.r.SFID, e.r.Precision, e.r.Recall = m.FID, m.SFID, m.Precision, m.Recall
	e.r.InceptionScore, e.r.InceptionScoreStd = m.InceptionScore, m.InceptionScoreStd
	if m.Classes != nil {
		e.r.Classes = e.classifier.result(m.Classes)
	}
	if e.Reference != nil {
		e.r.Ref, e.r.NumRef = e.Reference.Name, m.ReferenceImages
	}
	e.r.Seconds = time.Since(start).Seconds()
	return &e.r, nil
}

// evaluateAdvice adds the flag to an error of its value.
func evaluateAdvice(err error) error {
	var weights *evaluate.WeightsError
	var reference *evaluate.ReferenceError
	switch {
	case errors.As(err, &weights):
		return fmt.Errorf("the Inception network's weights, see --inception: %w", weights.Err)
	case errors.As(err, &reference):
		return fmt.Errorf("--ref: %w", reference.Err)
	}
	return err
}

// logProgress logs the start of each set, warns if it is small, and shows the progress.
func (e *evaluation) logProgress(at evaluate.Progress) {
	switch {
	case at.Set == "":
		e.screen.Done()
		e.log.Info("computing metrics")
	case at.Images == 0 && at.Classified:
		e.screen.Done()
		e.log.Info("classifying the "+at.Set, zap.Strings("data", at.Sources), zap.Int("images", at.Of), zap.String("classifier", e.classifier.checkpoint.Path), zap.Stringer("device", e.device))
	case at.Images == 0:
		e.screen.Done() // each set has its own bar
		e.log.Info("computing Inception features of the "+at.Set, zap.Strings("data", at.Sources), zap.Int("images", at.Of), zap.Stringer("device", e.device))
		if at.Of < evaluate.PoolFeatures {
			e.log.Warn("fewer images than features: FID is biased upwards and hardly comparable. Papers use 50,000", zap.String("of", at.Set), zap.Int("images", at.Of))
		}
	default:
		e.threads.Adapt()
		e.reportProgress(at.Images, at.Of, fmt.Sprintf("%s %d/%d ", at.Set, at.Images, at.Of),
			map[bool]string{true: "classifying", false: "computing Inception features"}[at.Classified], zap.String("set", at.Set), zap.Int("images", at.Images), zap.Int("of", at.Of))
	}
}
