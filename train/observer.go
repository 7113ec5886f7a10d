package train

import (
	"context"
	"errors"
	"time"

	"github.com/wangkuiyi/gotorch"
	"go.uber.org/zap"

	"iddpm/checkpoint"
	"iddpm/model"
	"iddpm/runconfig"
	"iddpm/train/engine"
	"iddpm/train/metrics"
)

// observersDue reports whether the current step ends with the work of an observer.
func (t *Trainer) observersDue() (due bool) {
	for _, o := range t.run.Observers {
		due = o.Due(t) || due
	}
	return due
}

// runObservers calls the observers that are due.
func (t *Trainer) runObservers(ctx context.Context) error {
	started := time.Now()
	for _, o := range t.run.Observers {
		if !o.Due(t) {
			continue
		}
		err := o.Observe(ctx, t)
		if errors.Is(err, context.Canceled) {
			return ErrInterrupted // in all processes
		}
		if err := t.syncStop(ctx, err); err != nil {
			return err
		}
	}
	t.meter.exclude(started)
	return nil
}

// Environment returns the environment of the run.
func (t *Trainer) Environment() Run { return t.run }

// Done reports whether the current step is the run's last.
func (t *Trainer) Done() bool { return t.done() }

// Network returns the network in training; nil if it is a classifier. A rollback replaces it.
func (t *Trainer) Network() *model.UNet { return t.engine.UNet() }

// WithDefaultWeights calls f while the network has the weights that are the default of a
// checkpoint of this step, see [checkpoint.Checkpoint.Weights]. Dict of these is nil.
func (t *Trainer) WithDefaultWeights(f func(checkpoint.Weights)) {
	index, w := checkpoint.DefaultWeights(t.config.Train, t.Step())
	t.engine.WithEMA(index, func() { f(w) })
}

// Data returns the images of the run, without those that are held out.
func (t *Trainer) Data() Data { return t.data }

// TrainedClasses returns what [checkpoint.Checkpoint.TrainedClasses] of a checkpoint of this run does.
func (t *Trainer) TrainedClasses() []int64 {
	c := checkpoint.Checkpoint{Config: t.config, ClassNames: t.data.ClassNames()}
	for _, count := range t.data.ClassCounts() {
		c.ClassCounts = append(c.ClassCounts, int64(count))
	}
	return c.TrainedClasses()
}

// AdaptThreads adapts the number of CPU threads to the load of other programs, if the run does.
func (t *Trainer) AdaptThreads() { t.threads.adapt(t.Step()) }

// WithInferenceModes calls f in the process-wide modes of inference, with the dtype of activations
// that is the default of inference on the run's device. Afterwards it restores those of training.
func (t *Trainer) WithInferenceModes(f func(dtype gotorch.DType)) error {
	dtype, tf32, err := engine.InferencePrecision("auto", t.run.Device)
	if err != nil {
		return err
	}
	withModes(tf32, func() { f(dtype) })
	return nil
}

// WithFloat32 is WithInferenceModes for work that needs float32 throughout, such as the features
// of FID.
func (t *Trainer) WithFloat32(f func()) { withModes(gotorch.TF32Never, f) }

// withModes calls f with this TF32 mode and without cuDNN's benchmark mode, and restores both.
func withModes(tf32 gotorch.TF32, f func()) {
	set := func(tf32 gotorch.TF32, benchmark bool) gotorch.Settings {
		s := gotorch.CurrentSettings() // f may adapt the number of threads
		s.TF32, s.BenchmarkCUDNN = tf32, benchmark
		return gotorch.Configure(s)
	}
	before := set(tf32, false)
	defer func() { set(before.TF32, before.BenchmarkCUDNN) }()
	f()
}

// WriteMetrics writes a row of the current step, on rank 0.
func (t *Trainer) WriteMetrics(row []metrics.Value) { t.writeMetrics(row) }

// WriteImage writes an image of the current step, the bytes of a PNG file, for TensorBoard, on
// rank 0.
func (t *Trainer) WriteImage(name string, png []byte) error {
	if !t.run.Group.IsLeader() {
		return nil
	}
	return t.metrics.WriteImage(t.Step(), name, png)
}

// SetSamples stores the settings of sample grids that were chosen while the run trains, for this
// process, and for those that resume it.
func (t *Trainer) SetSamples(s runconfig.SampleConfig) error {
	t.config.Samples = s
	if err := s.Validate(t.config.Model, t.config.Diffusion); err != nil || !t.run.Group.IsLeader() {
		return err
	}
	if err := writeConfig(t.run.Dir, t.config); err != nil { // the next checkpoint also stores it
		t.run.Log.Warn("cannot write the settings of sample grids to the run folder's configuration", zap.Error(err))
	}
	return nil
}
