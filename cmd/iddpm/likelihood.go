package main

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"iddpm/checkpoint"
	"iddpm/data"
	"iddpm/diffusion"
	"iddpm/distributed"
	"iddpm/inference"
	"iddpm/runconfig"
	"iddpm/train/engine"
)

// nllEvaluation evaluates the bound of a set of images, batch by batch, and saves the results so
// far in nll.npz.
type nllEvaluation struct {
	*session
	o   *nllOptions
	set *data.Dataset
	nllFile
	sum diffusion.BPDSum // of the images so far

	resumed int       // images that an earlier process evaluated
	start   time.Time // of this process's work
	release func()    // removes the folder if it is new and still empty
}

func (s *session) newNLLEvaluation(c *checkpoint.Checkpoint, set *data.Dataset, o *nllOptions) (*nllEvaluation, error) {
	e := &nllEvaluation{session: s, o: o, set: set, nllFile: nllFile{dir: cmp.Or(o.dir, nllDir(c)), named: o.dir != ""}, start: time.Now(), release: func() {}}
	s.setThreads(o.threads)
	weights, err := c.Weights(o.ema)
	if err = s.group.SyncError(err); err != nil {
		return nil, err
	}
	e.settings = nllSettings{
		Weights: weights.Name, Data: set.Fingerprint(), Images: set.Len(), BatchSize: o.batchSize,
		Config: runconfig.Config{Model: c.Config.Model, Diffusion: c.Config.Diffusion}, Seed: o.seed, Clip: o.clip,
		Precision: engine.AutomaticPrecision(o.computePrecision(), s.device),
	}
	if o.number > 0 {
		e.settings.Images = min(o.number, set.Len())
	}
	if err := s.group.CheckSame("set of images", e.settings.Data); err != nil {
		return nil, err
	}
	err = s.group.OnLeader(func() (err error) {
		if e.settings.Checkpoint, err = c.Sum(); err == nil {
			e.sum, e.release, err = e.open(e.log)
		}
		return err
	})
	if err == nil {
		err = e.join()
	}
	return e, err
}

// join has all processes start from the sum that rank 0 has read.
func (e *nllEvaluation) join() error {
	sum, err := distributed.Broadcast(e.group, e.sum)
	if err == nil {
		e.sum, e.resumed = sum, sum.Len()
	}
	return err
}

// evaluate evaluates the remaining images.
func (e *nllEvaluation) evaluate(ctx context.Context, c *checkpoint.Checkpoint) error {
	if e.sum.Len() == e.settings.Images {
		return nil
	}
	m, err := e.loadModel(c, e.o.ema, e.o.computePrecision())
	if err = e.group.SyncError(err); err != nil {
		return err
	}
	defer m.Free()
	timesteps := m.Diffusion().NumTimesteps()
	e.expect(batches(e.settings.Images-e.resumed, e.o.batchSize*e.group.Size()) * timesteps)
	e.log.Info("evaluating the bound", zap.String("checkpoint", c.Path), zap.Int("step", c.Step), zap.String("weights", e.settings.Weights),
		zap.String("data", e.set.Name()), zap.Int("images", e.settings.Images), zap.Int("timesteps", timesteps), zap.Stringer("device", e.device))
	_, err = m.Likelihood(ctx, e.images, e.settings.Images, inference.LikelihoodOptions{
		BatchSize: e.o.batchSize, Seed: e.o.seed, Unclipped: !e.o.clip, From: e.sum, Progress: e.progress, AfterRound: e.keep,
	})
	return withRemedy(err, "these are not counted")
}

// images reads n of the images to evaluate. They are spread evenly over the set, which may be sorted
// by class.
func (e *nllEvaluation) images(first, n int) (batch inference.Images, err error) {
	batch.Size = e.set.ImageSize()
	for i := first; i < first+n; i++ {
		pixels, label, err := e.set.Image(data.Spread(i, e.settings.Images, e.set.Len()))
		if err != nil {
			return batch, err
		}
		batch.Append(pixels, []int64{label})
	}
	return batch, nil
}

// keep saves the sum so far.
func (e *nllEvaluation) keep(sum diffusion.BPDSum) error {
	e.sum = sum
	if err := e.group.OnLeader(func() error { return e.save(&e.sum) }); err != nil {
		return fmt.Errorf("cannot save the evaluation: %w", err)
	}
	return nil
}

// progress reports the progress of the evaluation.
func (e *nllEvaluation) progress(p inference.Progress) error {
	e.threads.Adapt()
	done := e.sum.Len()
	text := fmt.Sprintf("%d/%d images ", done, e.settings.Images)
	if done > 0 {
		mean, _ := diffusion.MeanAndError(e.sum.Total)
		text = fmt.Sprintf("%d/%d images  %.3f bits/dim ", done, e.settings.Images, mean)
	}
	left := time.Since(e.start) / time.Duration(p.Step) * time.Duration(p.Steps-p.Step)
	e.reportProgress(p.Step, p.Steps, text, "evaluating",
		zap.Int("images", done), zap.Int("of", e.settings.Images), zap.Stringer("left", left.Round(time.Second)))
	return nil
}
