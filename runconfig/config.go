package runconfig

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"iddpm/data"
	"iddpm/diffusion"
	"iddpm/model"
	"iddpm/train/engine"
	"iddpm/train/posthoc"
)

// Config is the full configuration of a run. It is stored as JSON in the run folder and
// in every checkpoint.
type Config struct {
	Data  DataConfig   `json:"data"`
	Model model.Config `json:"model"`
	// Classifier, if not nil, is trained instead of a denoiser. Model then describes its images.
	Classifier *model.ClassifierConfig `json:"classifier,omitempty"`
	Diffusion  diffusion.Config        `json:"diffusion"`
	Train      Options                 `json:"train"`
	Eval       EvalConfig              `json:"eval"`
	Samples    SampleConfig            `json:"samples"`
}

// DataConfig says where the images are.
type DataConfig struct {
	Dir          string `json:"data_dir"`          // folder, zip or archive; empty: the built-in emoji
	Labels       string `json:"labels"`            // where classes come from: prefix, folder, source or a .csv file; empty: see data.Options
	Classes      string `json:"classes,omitempty"` // comma-separated names of the classes to train on; empty: all images
	Flip         bool   `json:"random_flip"`       // random horizontal flip, with probability 1/2
	RandomCrop   bool   `json:"random_crop"`       // random crop instead of center crop
	Orient       bool   `json:"exif_orientation"`  // apply the EXIF orientation
	JPEGDecoder  string `json:"jpeg_decoder"`      // auto, turbo or go, see data.Options; empty: auto
	Background   string `json:"background"`        // colour under transparent pixels, see data.ParseColour; empty: white
	MaxBadImages int    `json:"max_bad_images"`    // how many unreadable images to skip
	Cache        string `json:"cache"`             // memory for decoded images, see data.ParseCache; empty: auto
}

// Validate returns an error that lists all invalid settings of c.
func (c DataConfig) Validate() error {
	_, err := c.options()
	return err
}

// options returns the settings of decoding and caching.
func (c DataConfig) options() (data.Options, error) {
	o := data.Options{Labels: c.Labels, Orient: c.Orient, JPEGDecoder: c.JPEGDecoder, MaxBadImages: c.MaxBadImages}
	var errs [4]error
	if c.Classes != "" {
		o.Classes = strings.Split(c.Classes, ",")
	}
	if c.Background != "" {
		if o.Background, errs[0] = data.ParseColour(c.Background); errs[0] != nil {
			errs[0] = fmt.Errorf("background: %w", errs[0])
		}
	}
	if c.Cache != "" {
		if o.CacheBytes, errs[1] = data.ParseCache(c.Cache); errs[1] != nil {
			errs[1] = fmt.Errorf("cache: %w", errs[1])
		}
	}
	if !slices.Contains([]string{"", "auto", "turbo", "go"}, c.JPEGDecoder) {
		errs[2] = fmt.Errorf("jpeg-decoder %q is not one of auto, turbo, go", c.JPEGDecoder)
	}
	if c.MaxBadImages < 0 {
		errs[3] = fmt.Errorf("max-bad-images must not be negative, but is %d", c.MaxBadImages)
	}
	return o, errors.Join(errs[:]...)
}

// DataOptions returns the preprocessing options of a valid configuration.
func (c Config) DataOptions() data.Options {
	o, _ := c.Data.options()
	o.ImageSize, o.ClassCond, o.NumClasses = c.Model.ImageSize, c.Model.ClassCond, c.Model.NumClasses
	return o
}

// Anchor makes the paths in c absolute, so that a run can be resumed from any working
// folder.
func (c *Config) Anchor() {
	paths := []*string{&c.Data.Dir, &c.Eval.Dir, &c.Eval.Inception, &c.Train.InitFrom}
	if data.IsLabelTable(c.Data.Labels) {
		paths = append(paths, &c.Data.Labels)
	}
	for _, path := range paths {
		if _, err := os.Stat(*path); err != nil {
			continue // an empty path or a URL
		}
		if whole, err := filepath.Abs(*path); err == nil {
			*path = whole
		}
	}
}

// Options are the hyperparameters and intervals of the training loop. The JSON keys are
// the reference's flags where it has them.
type Options struct {
	BatchSize        int       `json:"batch_size"`                   // images per step
	Microbatch       int       `json:"microbatch"`                   // gradient accumulation: images per backward pass; below 1: BatchSize
	MicrobatchAuto   bool      `json:"microbatch_auto,omitempty"`    // choose Microbatch if it is below 1, and lower it when out of memory
	LR               float64   `json:"lr"`                           // AdamW's learning rate
	WeightDecay      float64   `json:"weight_decay"`                 // decoupled
	LRAnnealSteps    int       `json:"lr_anneal_steps"`              // the learning rate decays linearly to 0 at this step; 0: constant
	WarmupSteps      int       `json:"warmup_steps"`                 // linear learning rate warm-up over this many steps
	EMARates         []float64 `json:"ema_rate"`                     // decay rates of the EMAs of the weights
	EMAWarmup        bool      `json:"ema_warmup,omitempty"`         // limit the decay rates of the first steps, see [engine.EMADecay]
	PowerEMA         []float64 `json:"power_ema,omitempty"`          // lengths of power-function EMAs of the weights, see package posthoc
	PowerEMAInterval int       `json:"power_ema_interval,omitempty"` // steps between two of their snapshots; 0: SaveInterval
	GradClip         float64   `json:"grad_clip"`                    // largest gradient norm; 0: no limit
	ScheduleSampler  string    `json:"schedule_sampler"`             // uniform or loss-second-moment
	Steps            int       `json:"steps"`                        // total optimizer steps; 0: LRAnnealSteps, or until interrupted
	LogInterval      int       `json:"log_interval"`                 // steps between two rows of metrics
	GradientNoise    bool      `json:"gradient_noise"`               // measures the gradient noise scale, from microbatches
	SaveInterval     int       `json:"save_interval"`                // steps between two checkpoints
	Keep             int       `json:"keep"`                         // newest checkpoints to keep; 0: all
	KeepEvery        int       `json:"keep_every"`                   // also keep checkpoints at multiples of this step; 0: none
	KeepBest         string    `json:"keep_best,omitempty"`          // keep the checkpoint of the smallest loss, bpd, fid or kid as best.pt; "": none
	Seed             uint64    `json:"seed"`                         // of weights, data order, timesteps, noise and dropout
	Precision        string    `json:"precision"`                    // auto, fp32, tf32, bf16 or fp16
	Deterministic    bool      `json:"deterministic"`                // use deterministic algorithms on CUDA too
	NoCUDAGraphs     bool      `json:"no_cuda_graphs"`               // run every step eagerly on a GPU
	Threads          int       `json:"threads"`                      // of libtorch on the CPU; 0: one per core
	FP16ScaleGrowth  float64   `json:"fp16_scale_growth"`            // growth of log2(loss scale) per step, with fp16
	MaxSkipped       int       `json:"max_skipped_steps"`            // consecutive non-finite steps before the run rolls back; 0: 25
	CleanImages      bool      `json:"clean_images,omitempty"`       // train a classifier on images without noise, at t = 0
	InitFrom         string    `json:"init_from,omitempty"`          // checkpoint that the weights were initialised from
	ReinitMismatched bool      `json:"reinit_mismatched,omitempty"`

	// AdaptThreads is set if Threads was 0: Threads is then the number on an idle machine,
	// and fewer are used while other programs use the cores.
	AdaptThreads bool `json:"adapt_threads,omitempty"`
}

// TotalSteps returns the last step of the run, or 0 if it has none.
func (o Options) TotalSteps() int {
	if o.Steps > 0 {
		return o.Steps
	}
	return o.LRAnnealSteps
}

// LearningRate returns the learning rate of the step that follows `step` finished ones.
func (o Options) LearningRate(step int) float64 {
	lr := o.LR
	if o.LRAnnealSteps > 0 {
		lr *= math.Max(0, 1-float64(step)/float64(o.LRAnnealSteps))
	}
	if step < o.WarmupSteps {
		lr *= float64(step+1) / float64(o.WarmupSteps)
	}
	return lr
}

// defaultMaxSkipped is the default of Options.MaxSkipped.
const defaultMaxSkipped = 25

// SkipLimit returns after how many consecutive skipped steps the run rolls back to its
// last checkpoint.
func (o Options) SkipLimit() int {
	if o.MaxSkipped == 0 {
		return defaultMaxSkipped
	}
	return o.MaxSkipped
}

// microbatch returns the number of images per backward pass.
func (o Options) microbatch() int {
	if o.Microbatch < 1 {
		return o.BatchSize
	}
	return o.Microbatch
}

// SnapshotInterval returns the number of steps between two snapshots of power-function EMAs.
func (o Options) SnapshotInterval() int {
	if o.PowerEMAInterval > 0 {
		return o.PowerEMAInterval
	}
	return o.SaveInterval
}

// CheckParts returns an error if batches cannot be divided among so many processes, or if
// the gradient noise scale has no microbatches to compare.
func (o Options) CheckParts(processes int) error {
	switch {
	case o.BatchSize%processes != 0:
		return fmt.Errorf("batch-size %d is not divisible by the %d processes: it is the total over all processes", o.BatchSize, processes)
	case o.GradientNoise && min(o.microbatch(), o.BatchSize/processes) == o.BatchSize:
		return fmt.Errorf("gradient-noise compares microbatches, or the parts of several processes, with the whole batch: set microbatch below batch-size %d", o.BatchSize)
	}
	return nil
}

// Validate returns an error that lists all invalid settings, each by its flag.
func (c Config) Validate() error {
	errs := []error{c.validateNetwork(), c.Data.Validate(), c.Diffusion.Validate(), c.Train.Validate(), c.Eval.Validate(c.Diffusion), c.Samples.Validate(c.Model, c.Diffusion), c.Eval.checkBest(c.Train.KeepBest)}
	if c.Model.LearnSigma != c.Diffusion.LearnSigma {
		errs = append(errs, fmt.Errorf("learn-sigma is %t for the model but %t for the diffusion", c.Model.LearnSigma, c.Diffusion.LearnSigma))
	}
	if c.Eval.Samples > 0 && c.Model.SuperRes() {
		errs = append(errs, errors.New("eval-samples is for networks that sample from noise: a super-resolution network needs low-resolution images"))
	}
	return errors.Join(errs...)
}

func (c Config) validateNetwork() error {
	if c.Classifier == nil {
		_, err := c.Model.UNet()
		return err
	}
	_, err := c.Classifier.Encoder()
	errs := []error{err}
	if m := c.Model; !m.ClassCond || m.NumClasses != c.Classifier.NumClasses || m.ImageSize != c.Classifier.ImageSize || m.SuperRes() || m.HasNullClass() {
		errs = append(errs, fmt.Errorf("a classifier needs images of its size, %d pixels, with its %d classes: set class-cond, and no class-dropout or small-size", c.Classifier.ImageSize, c.Classifier.NumClasses))
	}
	if c.Samples.Interval != 0 {
		errs = append(errs, errors.New("sample-interval is for denoisers: a classifier generates no samples"))
	}
	return errors.Join(errs...)
}

// Validate returns an error that lists all invalid settings of o.
func (o Options) Validate() error {
	var errs []error
	require := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	require(o.BatchSize > 0, "batch-size must be above 0, not %d", o.BatchSize)
	require(o.Microbatch <= o.BatchSize, "microbatch %d is larger than batch-size %d", o.Microbatch, o.BatchSize)
	require(o.LR > 0 && !math.IsInf(o.LR, 0), "lr must be a number above 0, not %g", o.LR)
	require(o.WeightDecay >= 0 && !math.IsInf(o.WeightDecay, 0), "weight-decay must be a number, not negative, but is %g", o.WeightDecay)
	require(o.LRAnnealSteps >= 0, "lr-anneal-steps must not be negative, but is %d", o.LRAnnealSteps)
	require(o.WarmupSteps >= 0, "warmup-steps must not be negative, but is %d", o.WarmupSteps)
	require(o.GradClip >= 0 && !math.IsInf(o.GradClip, 0), "grad-clip must be a number, not negative (0: never), but is %g", o.GradClip)
	require(o.Steps >= 0, "steps must not be negative, but is %d", o.Steps)
	require(o.LogInterval > 0, "log-interval must be above 0, not %d", o.LogInterval)
	require(o.SaveInterval > 0, "save-interval must be above 0, not %d", o.SaveInterval)
	require(o.FP16ScaleGrowth >= 0 && o.FP16ScaleGrowth <= 1, "fp16-scale-growth must be in [0, 1], not %g", o.FP16ScaleGrowth)
	require(o.MaxSkipped >= 0, "max-skipped-steps must not be negative, but is %d", o.MaxSkipped)
	require(o.Keep >= 0, "keep must not be negative, but is %d", o.Keep)
	require(o.KeepEvery >= 0, "keep-every must not be negative, but is %d", o.KeepEvery)
	require(o.Threads >= 0, "threads must not be negative, but is %d", o.Threads)
	for _, rate := range o.EMARates {
		require(rate >= 0 && rate < 1, "ema-rate must be in [0, 1), not %g", rate)
	}
	for i, length := range o.PowerEMA {
		_, err := posthoc.Gamma(length)
		require(err == nil, "power-ema: %v", err)
		require(!slices.Contains(o.PowerEMA[:i], length), "power-ema has the length %g twice", length)
	}
	require(o.PowerEMAInterval >= 0, "power-ema-interval must not be negative, but is %d", o.PowerEMAInterval)
	require(o.PowerEMAInterval == 0 || len(o.PowerEMA) > 0, "power-ema-interval %d is without power-ema", o.PowerEMAInterval)
	_, ok := engine.Precisions[o.Precision]
	require(ok, "precision %q is not one of auto, fp32, tf32, bf16, fp16", o.Precision)
	_, ok = engine.TimestepSamplers[o.ScheduleSampler]
	require(ok, "schedule-sampler %q is not one of uniform, loss-second-moment", o.ScheduleSampler)
	return errors.Join(errs...)
}

// Parse reads the JSON of a checkpoint or run folder.
func Parse(text []byte) (Config, error) {
	var c Config
	if err := json.Unmarshal(text, &c); err != nil {
		return c, fmt.Errorf("configuration: %w", err)
	}
	return c, c.Validate()
}
