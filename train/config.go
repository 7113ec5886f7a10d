package train

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"iddpm/data"
	"iddpm/diffusion"
	"iddpm/model"
)

// Config is all that makes a run what it is. It is stored, as JSON, in the run
// folder and in every checkpoint.
type Config struct {
	Data      DataConfig       `json:"data"`
	Model     model.Config     `json:"model"`
	Diffusion diffusion.Config `json:"diffusion"`
	Train     Options          `json:"train"`
	Eval      EvalConfig       `json:"eval"`
}

// DataConfig says where the images are.
type DataConfig struct {
	Dir          string `json:"data_dir"`         // folder, zip or archive; empty: the built-in emoji
	Labels       string `json:"labels"`           // where classes come from: prefix, folder, source or a .csv file; empty: see data.Options
	Flip         bool   `json:"random_flip"`      // mirror every other image, by chance
	RandomCrop   bool   `json:"random_crop"`      // crop anywhere, not from the centre
	Orient       bool   `json:"exif_orientation"` // turn images as their EXIF orientation says
	JPEGDecoder  string `json:"jpeg_decoder"`     // auto, turbo or go, see data.Options; empty: auto
	Background   string `json:"background"`       // colour under transparent pixels, see data.ParseColour; empty: white
	MaxBadImages int    `json:"max_bad_images"`   // how many unreadable images to leave out
	Cache        string `json:"cache"`            // memory that keeps decoded images, see data.ParseCache; empty: auto
}

// Validate returns an error that lists all that is wrong with c.
func (c DataConfig) Validate() error {
	_, err := c.options()
	return err
}

// options returns what the configuration says of decoding and caching.
func (c DataConfig) options() (data.Options, error) {
	o := data.Options{Labels: c.Labels, Orient: c.Orient, JPEGDecoder: c.JPEGDecoder, MaxBadImages: c.MaxBadImages}
	var errs [4]error
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

// DataOptions returns how the images of a valid configuration become training
// examples.
func (c Config) DataOptions() data.Options {
	o, _ := c.Data.options()
	o.ImageSize, o.ClassCond, o.NumClasses = c.Model.ImageSize, c.Model.ClassCond, c.Model.NumClasses
	return o
}

// Anchor makes the paths in c absolute, so that a run can go on from whichever
// folder it is named in.
func (c *Config) Anchor() {
	paths := []*string{&c.Data.Dir, &c.Eval.Dir, &c.Train.InitFrom}
	if data.IsLabelTable(c.Data.Labels) {
		paths = append(paths, &c.Data.Labels)
	}
	for _, path := range paths {
		if _, err := os.Stat(*path); err != nil {
			continue // empty, or a URL
		}
		if whole, err := filepath.Abs(*path); err == nil {
			*path = whole
		}
	}
}

// Options are the numbers of the training loop; the JSON keys are the
// reference's flags where it has them.
type Options struct {
	BatchSize        int       `json:"batch_size"`                // images per step
	Microbatch       int       `json:"microbatch"`                // images per backward pass; below 1: BatchSize
	MicrobatchAuto   bool      `json:"microbatch_auto,omitempty"` // choose Microbatch where it is below 1, and lower it where memory runs out
	LR               float64   `json:"lr"`                        // AdamW's learning rate
	WeightDecay      float64   `json:"weight_decay"`              // decoupled
	LRAnnealSteps    int       `json:"lr_anneal_steps"`           // the rate falls linearly to 0 at this step; 0: it stays
	WarmupSteps      int       `json:"warmup_steps"`              // the rate rises linearly over this many steps
	EMARates         []float64 `json:"ema_rate"`                  // of the averaged weights
	GradClip         float64   `json:"grad_clip"`                 // largest gradient norm; 0: no limit
	ScheduleSampler  string    `json:"schedule_sampler"`          // uniform or loss-second-moment
	Steps            int       `json:"steps"`                     // optimizer steps in all; 0: LRAnnealSteps, or until interrupted
	LogInterval      int       `json:"log_interval"`              // steps between two lines of metrics
	GradientNoise    bool      `json:"gradient_noise"`            // measures the gradient noise scale, from microbatches
	SaveInterval     int       `json:"save_interval"`             // steps between two checkpoints
	Keep             int       `json:"keep"`                      // newest checkpoints that stay; 0: all
	KeepEvery        int       `json:"keep_every"`                // whatever Keep says, those at multiples of this step stay; 0: none
	Seed             uint64    `json:"seed"`                      // of weights, order, timesteps, noise and dropout
	Precision        string    `json:"precision"`                 // auto, fp32, tf32, bf16 or fp16
	Deterministic    bool      `json:"deterministic"`             // on CUDA too, the same bits at every run
	NoCUDAGraphs     bool      `json:"no_cuda_graphs"`            // every step runs eagerly on a GPU
	Threads          int       `json:"threads"`                   // of libtorch on the CPU; 0: one per core
	FP16ScaleGrowth  float64   `json:"fp16_scale_growth"`         // of log2 of the loss's factor per step, with fp16
	MaxSkipped       int       `json:"max_skipped_steps"`         // in a row, for numbers that are not finite, before the run goes back; 0: 25
	InitFrom         string    `json:"init_from,omitempty"`       // checkpoint whose weights training began from
	ReinitMismatched bool      `json:"reinit_mismatched,omitempty"`

	// AdaptThreads says that Threads was 0: it is the number on an idle machine, and there
	// are fewer while other programs use the cores.
	AdaptThreads bool `json:"adapt_threads,omitempty"`
}

// TotalSteps returns the step at which training is done, or 0 if it never is.
func (o Options) TotalSteps() int {
	if o.Steps > 0 {
		return o.Steps
	}
	return o.LRAnnealSteps
}

// LearningRate returns the rate of the step that follows `step` finished ones.
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

// maxSkipped returns after how many skipped steps in a row the run goes back to
// its last checkpoint.
func (o Options) maxSkipped() int {
	if o.MaxSkipped == 0 {
		return defaultMaxSkipped
	}
	return o.MaxSkipped
}

// microbatch returns how many images go through one backward pass.
func (o Options) microbatch() int {
	if o.Microbatch < 1 {
		return o.BatchSize
	}
	return o.Microbatch
}

// CheckParts returns what is wrong with how batches part among so many processes, and
// into microbatches there.
func (o Options) CheckParts(processes int) error {
	switch {
	case o.BatchSize%processes != 0:
		return fmt.Errorf("batch-size %d does not part evenly among %d processes: it counts the images of all of them together", o.BatchSize, processes)
	case o.GradientNoise && min(o.microbatch(), o.BatchSize/processes) == o.BatchSize:
		return fmt.Errorf("gradient-noise compares microbatches, or the shares of several processes, with the whole batch: set microbatch below batch-size %d", o.BatchSize)
	}
	return nil
}

// Validate returns an error that lists all that is wrong with the whole
// configuration, each by its flag.
func (c Config) Validate() error {
	_, err := c.Model.UNet()
	errs := []error{err, c.Data.Validate(), c.Diffusion.Validate(), c.Train.Validate(), c.Eval.Validate(c.Diffusion)}
	if c.Model.LearnSigma != c.Diffusion.LearnSigma {
		errs = append(errs, fmt.Errorf("learn-sigma is %t for the model but %t for the diffusion", c.Model.LearnSigma, c.Diffusion.LearnSigma))
	}
	return errors.Join(errs...)
}

// Validate returns an error that lists all that is wrong with o.
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
	_, ok := precisions[o.Precision]
	require(ok, "precision %q is not one of auto, fp32, tf32, bf16, fp16", o.Precision)
	_, ok = scheduleSamplers[o.ScheduleSampler]
	require(ok, "schedule-sampler %q is not one of uniform, loss-second-moment", o.ScheduleSampler)
	return errors.Join(errs...)
}

// emaKey names a rate as Python prints it, which is how checkpoints and the
// reference's file names spell it: 0.9999, not 9.999e-01.
func emaKey(rate float64) string { return strconv.FormatFloat(rate, 'f', -1, 64) }

// parseConfig reads the JSON of a checkpoint or run folder.
func parseConfig(text []byte) (Config, error) {
	var c Config
	if err := json.Unmarshal(text, &c); err != nil {
		return c, fmt.Errorf("configuration: %w", err)
	}
	return c, c.Validate()
}
