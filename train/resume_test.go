package train

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/wangkuiyi/gotorch"
	"github.com/wangkuiyi/gotorch/pt"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"iddpm/checkpoint"
	"iddpm/data"
	"iddpm/distributed"
	"iddpm/internal/madeup"
	"iddpm/runconfig"
)

func train(t *testing.T, c runconfig.Config, dir string) *checkpoint.Checkpoint {
	t.Helper()
	trainer, err := New(c, Run{Dir: dir})
	return finish(t, trainer, err)
}

// upTo changes the last step of a run.
func upTo(steps int) Change {
	return func(c *runconfig.Config) error {
		c.Train.Steps = steps
		return nil
	}
}

// finish trains to the end and returns the last checkpoint.
func finish(t *testing.T, trainer *Trainer, err error) *checkpoint.Checkpoint {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	before := gotorch.Configure(trainer.Settings())
	t.Cleanup(func() { gotorch.Configure(before) })
	if err := errors.Join(trainer.Train(t.Context()), trainer.Close()); err != nil {
		t.Fatal(err)
	}
	c, err := checkpoint.Load(trainer.run.Dir)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// sameState fails unless two checkpoints hold the same bits.
func sameState(t *testing.T, a, b *checkpoint.Checkpoint) {
	t.Helper()
	if a.Step != b.Step || a.Position != b.Position {
		t.Errorf("step %d at image %d, want step %d at image %d", b.Step, b.Position, a.Step, a.Position)
	}
	sameDict(t, "model", a.Model, b.Model)
	for rate := range a.EMA {
		sameDict(t, "ema "+rate, a.EMA[rate], b.EMA[rate])
	}
	sameDict(t, "optimizer", a.Optimizer, b.Optimizer)
	sameDict(t, "timestep_sampler", a.TimestepSampler, b.TimestepSampler)
	if a.Health != b.Health {
		t.Errorf("health is %+v, want %+v", b.Health, a.Health)
	}
}

func sameDict(t *testing.T, path string, a, b *pt.Dict) {
	t.Helper()
	if b == nil || a.Len() != b.Len() {
		t.Errorf("%s: another number of entries", path)
		return
	}
	for key, value := range a.All() {
		other, _ := b.Get(key)
		same(t, fmt.Sprintf("%s.%v", path, key), value, other)
	}
}

func same(t *testing.T, path string, a, b any) {
	t.Helper()
	if fmt.Sprintf("%T", a) != fmt.Sprintf("%T", b) {
		t.Errorf("%s is a %T, want a %T", path, b, a)
		return
	}
	switch a := a.(type) {
	case *pt.Dict:
		sameDict(t, path, a, b.(*pt.Dict))
	case *pt.Tensor:
		if !bytes.Equal(a.Data, b.(*pt.Tensor).Data) {
			t.Errorf("%s differs", path)
		}
	case []any:
		for i, value := range a {
			same(t, fmt.Sprintf("%s[%d]", path, i), value, b.([]any)[i])
		}
	default:
		if fmt.Sprint(a) != fmt.Sprint(b) {
			t.Errorf("%s is %v, want %v", path, b, a)
		}
	}
}

// TestResume stops runs half-way, resumes them, and compares their checkpoints bit for bit
// with those of uninterrupted runs.
func TestResume(t *testing.T) {
	images := fiveImages(t)
	for name, change := range map[string]func(*runconfig.Config){
		"plain":         func(*runconfig.Config) {},
		"class dropout": func(c *runconfig.Config) { c.Model.ClassCond, c.Model.NumClasses, c.Model.ClassDropout = true, 10, 0.5 },
		"resampling blocks": func(c *runconfig.Config) {
			c.Model.ResBlockUpDown, c.Model.NewAttentionOrder, c.Model.NumHeadChannels, c.Model.UseCheckpoint = true, true, 16, true
		},
		"microbatch and dropout": func(c *runconfig.Config) { c.Train.Microbatch, c.Model.Dropout = 3, 0.3 },
		"EMA warm-up":            func(c *runconfig.Config) { c.Train.EMARates, c.Train.EMAWarmup = []float64{0.2, 0.9999}, true },
		"several EMAs": func(c *runconfig.Config) {
			c.Train.EMARates, c.Train.PowerEMA = []float64{0.5, 0.9, 0.999}, []float64{0.05, 0.2}
		},
		"v": func(c *runconfig.Config) {
			c.Diffusion.Predict, c.Diffusion.LossWeight, c.Diffusion.NoiseSchedule, c.Diffusion.ZeroTerminalSNR = "v", "min-snr:5", "cosine-shifted:8", true
		},
		"annealing": func(c *runconfig.Config) { c.Train.LRAnnealSteps, c.Train.WarmupSteps, c.Train.GradClip = 8, 4, 0.5 },
		"importance": func(c *runconfig.Config) {
			c.Train.ScheduleSampler, c.Diffusion.UseKL, c.Diffusion.Steps, c.Train.Steps = "loss-second-moment", true, 4, 30
		},
		"bf16": func(c *runconfig.Config) { c.Train.Precision = "bf16" },
		"fp16": func(c *runconfig.Config) {
			c.Train.Precision, c.Train.FP16ScaleGrowth, c.Train.BatchSize = "fp16", 1e-3, 2
		},
		"checkpointing":   func(c *runconfig.Config) { c.Model.UseCheckpoint, c.Model.Dropout = true, 0.2 },
		"threads":         func(c *runconfig.Config) { c.Train.Threads = min(2, runtime.NumCPU()) },
		"epochs, flipped": func(c *runconfig.Config) { c.Data.Dir, c.Data.Flip = images, true }, // of 5 images: batches of 4 cross their ends
		"super-resolution": func(c *runconfig.Config) {
			c.Model.SmallSize, c.Model.UseCheckpoint, c.Train.Microbatch = 4, true, 3
			c.Eval = runconfig.EvalConfig{HoldOut: 0.02, Interval: 3, Images: 4, Respacing: "5"}
		},
		"keep": func(c *runconfig.Config) { c.Train.SaveInterval, c.Train.Keep = 1, 1 },
	} {
		t.Run(name, func(t *testing.T) {
			c := madeup.Run()
			change(&c)
			whole := train(t, c, t.TempDir())
			half := c
			half.Train.Steps = c.Train.Steps / 2
			dir := t.TempDir()
			train(t, half, dir)
			resumed, err := Resume(dir, upTo(c.Train.Steps), Run{})
			after := finish(t, resumed, err)
			sameState(t, whole, after)
			sameFile(t, whole.Path, after.Path)
		})
	}
}

// sameFile fails unless two files are equal byte by byte, as checkpoints of equal states are.
func sameFile(t *testing.T, a, b string) {
	t.Helper()
	want, err := os.ReadFile(a)
	got, otherErr := os.ReadFile(b)
	if err != nil || otherErr != nil || !bytes.Equal(got, want) {
		t.Errorf("%s and %s differ (%v, %v)", a, b, err, otherErr)
	}
}

// fiveImages makes a folder of five uniform images.
func fiveImages(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for i := range 5 {
		img := image.NewGray(image.Rect(0, 0, 8, 8))
		for k := range img.Pix {
			img.Pix[k] = byte(50 * i)
		}
		var file bytes.Buffer
		if err := png.Encode(&file, img); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.png", i)), file.Bytes(), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestMicrobatch checks that the size of microbatches changes results only by rounding.
func TestMicrobatch(t *testing.T) {
	c := madeup.Run()
	c.Train.Steps, c.Model.Dropout = 2, 0.2
	whole := train(t, c, t.TempDir())
	c.Train.Microbatch = 3
	parts := train(t, c, t.TempDir())
	gotorch.Scope(func() {
		for key, value := range whole.Model.All() {
			other, _ := parts.Model.Get(key)
			a, b := gotorch.FromPT(value.(*pt.Tensor)), gotorch.FromPT(other.(*pt.Tensor))
			// AdamW's first updates are of full size for any gradient, and the sign of a
			// gradient that is rounding error is arbitrary.
			if d := a.Sub(b, 1).Abs().Mean().Float64(); d > 1e-4 {
				t.Errorf("%v differs by %g on average", key, d)
			}
		}
	})
}

// TestInterrupt cancels a run at its third step: it saves, and resumes to the same final
// state.
func TestInterrupt(t *testing.T) {
	whole := train(t, madeup.Run(), t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	dir := t.TempDir()
	trainer, err := New(madeup.Run(), Run{Dir: dir, Progress: func(p Progress) {
		if p.Step == 3 {
			cancel()
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := trainer.Train(ctx); !errors.Is(err, ErrInterrupted) {
		t.Errorf("Train returned %v, want ErrInterrupted", err)
	}
	if err := trainer.Close(); err != nil {
		t.Fatal(err)
	}
	resumed, err := Resume(dir, nil, Run{})
	if err == nil && resumed.Step() != 3 {
		t.Errorf("the run resumes at step %d, want 3", resumed.Step())
	}
	sameState(t, whole, finish(t, resumed, err))
}

// TestNewestReadable resumes from the newest checkpoint that can be read.
func TestNewestReadable(t *testing.T) {
	c := madeup.Run()
	c.Train.SaveInterval = 2
	dir := t.TempDir()
	train(t, c, dir)
	newest := filepath.Join(dir, checkpoint.Dir, "ckpt-000006.pt")
	data, err := os.ReadFile(newest)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(newest, data[:len(data)/2], 0o666); err != nil {
		t.Fatal(err)
	}
	found, err := checkpoint.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if found.Step != 4 {
		t.Errorf("step %d was found, want 4", found.Step)
	}
	core, logs := observer.New(zapcore.WarnLevel)
	resumed, err := Resume(dir, nil, Run{Log: zap.New(core)})
	if last := finish(t, resumed, err); last.Step != 6 || filepath.Base(last.Path) != filepath.Base(newest) {
		t.Errorf("the resumed run ends at %s", last.Path)
	}
	if logs.FilterMessageSnippet("the newest checkpoint cannot be read").Len() != 1 {
		t.Errorf("the log says %v", logs.All())
	}
}

func TestLoadCheckpointErrors(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, value any) string {
		path := filepath.Join(dir, name)
		if err := pt.WriteFile(path, value); err != nil {
			t.Fatal(err)
		}
		return path
	}
	other := new(pt.Dict)
	other.Set("epoch", 3)
	future := new(pt.Dict)
	future.Set("format", 2)
	empty := filepath.Join(dir, "empty")
	if err := os.Mkdir(empty, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, run := range []string{"001-a", "002-b"} {
		file := filepath.Join(dir, "runs", run, checkpoint.ConfigFile)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o777), os.WriteFile(file, nil, 0o666)); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "nothing.pt"): "no checkpoint or run folder",
		filepath.Join(dir, "runs/003-c"): "no such file or directory; the runs in " + filepath.Join(dir, "runs") + " are 001-a, 002-b",
		empty:                            "holds no checkpoint",
		write("other.pt", other):         "was written by another program",
		write("list.pt", []any{}):        "not a checkpoint of iddpm",
		write("future.pt", future):       "has format 2",
		write("bare.pt", new(pt.Dict)):   "is empty",
	} {
		if _, err := checkpoint.Load(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v lacks %q", path, err, want)
		}
	}
}

// TestInitFrom fine-tunes from another network's weights.
func TestInitFrom(t *testing.T) {
	c := madeup.Run()
	c.Train.Steps = 1
	from := train(t, c, t.TempDir())
	c.Train.InitFrom, c.Model.ClassCond, c.Model.NumClasses = from.Path, true, 10
	if _, err := New(c, Run{Dir: t.TempDir()}); err == nil || !strings.Contains(err.Error(), "missing: label_emb.weight") {
		t.Errorf("error %v does not list the missing layer", err)
	}
	c.Train.ReinitMismatched = true
	trainer, err := New(c, Run{Dir: t.TempDir(), Log: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer trainer.Close()
	want, _ := from.EMA["0.9"].Get("time_embed.0.weight")
	gotorch.Run(func() {
		if got := trainer.engine.Network().StateDict(); got != nil {
			value, _ := got.Get("time_embed.0.weight")
			if !bytes.Equal(value.(*pt.Tensor).Data, want.(*pt.Tensor).Data) {
				t.Error("the weights are not those of --init-from")
			}
		}
	})
}

// TestTensorsStayFlat trains on and watches the number of living tensors.
func TestTensorsStayFlat(t *testing.T) {
	c := madeup.Run()
	c.Train.Steps, c.Train.LogInterval = 30, 1
	var live []int64
	trainer, err := New(c, Run{Dir: t.TempDir(), Progress: func(p Progress) { live = append(live, gotorch.LiveTensors()) }})
	finish(t, trainer, err)
	if first, last := live[9], live[len(live)-1]; last > first {
		t.Errorf("%d tensors live after 10 steps, %d after %d", first, last, len(live))
	}
}

func TestLearningRate(t *testing.T) {
	o := runconfig.Options{LR: 1, LRAnnealSteps: 10, WarmupSteps: 2}
	for step, want := range map[int]float64{0: 0.5, 1: 0.9, 5: 0.5, 10: 0, 12: 0} {
		if got := o.LearningRate(step); got != want {
			t.Errorf("the rate after %d steps is %g, want %g", step, got, want)
		}
	}
}

func TestValidateListsEverything(t *testing.T) {
	c := madeup.Run()
	c.Train.BatchSize, c.Train.Microbatch, c.Train.LR = 4, 5, -1
	c.Diffusion.Steps, c.Model.ImageSize, c.Train.Precision = 0, 33, "int8"
	c.Data.Background, c.Data.Cache, c.Data.JPEGDecoder = "whitish", "much", "magick"
	err := c.Validate()
	for _, want := range []string{"microbatch 5", "lr must", "image-size 33", "diffusion", "precision", `background: "whitish"`, `cache: "much"`, `jpeg-decoder "magick"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q: %v", want, err)
		}
	}
}

func TestDataOptions(t *testing.T) {
	c := madeup.Run()
	if o := c.DataOptions(); o.Background != nil || o.CacheBytes != 0 || o.ImageSize != c.Model.ImageSize {
		t.Errorf("nothing said: %+v", o)
	}
	c.Model.ClassCond = true
	c.Data = runconfig.DataConfig{Labels: "folder", Orient: true, Background: "#c81e3c", MaxBadImages: 3, Cache: "none", JPEGDecoder: "go"}
	want := data.Options{
		ImageSize: c.Model.ImageSize, ClassCond: true, Labels: "folder", Orient: true,
		Background: color.NRGBA{200, 30, 60, 255}, MaxBadImages: 3, CacheBytes: -1, JPEGDecoder: "go",
	}
	if o := c.DataOptions(); !reflect.DeepEqual(o, want) {
		t.Errorf("%+v, want %+v", o, want)
	}
}

// A checkpoint stores the JPEG decoder, and resuming with another one logs a warning.
func TestJPEGDecoderIsRecorded(t *testing.T) {
	c := madeup.Run()
	c.Train.Steps, c.Data.Dir, c.Data.JPEGDecoder = 1, t.TempDir(), "go"
	var file bytes.Buffer
	if err := jpeg.Encode(&file, image.NewGray(image.Rect(0, 0, 8, 8)), nil); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(c.Data.Dir, "a.jpg"), file.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "run")
	last := train(t, c, dir)
	if last.Environment["jpeg_decoder"] != "Go" {
		t.Errorf("the environment is %v", last.Environment)
	}
	core, logs := observer.New(zapcore.WarnLevel)
	resumed, err := Resume(dir, upTo(2), Run{Log: zap.New(core)})
	if err != nil {
		t.Fatal(err)
	}
	defer resumed.Close()
	if logs.Len() > 0 {
		t.Errorf("the same decoder: %v", logs.All())
	}
	last.Environment["jpeg_decoder"] = "libjpeg-turbo"
	resumed.warnOfDifferences(last)
	if logs.FilterField(zap.String("reason", "jpeg_decoder")).Len() != 1 {
		t.Errorf("another decoder: %v", logs.All())
	}
}

// TestResumeRejectsEarlierEnd resumes with a last step that the run has passed.
func TestResumeRejectsEarlierEnd(t *testing.T) {
	dir := t.TempDir()
	train(t, madeup.Run(), dir)
	before := read(t, filepath.Join(dir, checkpoint.ConfigFile))
	for steps, want := range map[int]string{
		5:  "is at step 6, so the run cannot end at step 5",
		-1: "steps must not be negative, but is -1",
		6:  "",
	} {
		resumed, err := Resume(dir, upTo(steps), Run{})
		if want == "" {
			finish(t, resumed, err)
		} else if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("--steps %d: %v", steps, err)
		}
		if !bytes.Equal(read(t, filepath.Join(dir, checkpoint.ConfigFile)), before) {
			t.Errorf("--steps %d changes the configuration", steps)
		}
	}
}

// An image that cannot be read ends the run, which is saved first, and can be resumed if that
// image may be skipped.
func TestUnreadableImageSavesRun(t *testing.T) {
	c, dir := madeup.Run(), t.TempDir()
	c.Data.Dir, c.Data.Cache, c.Train.Steps = fiveImages(t), "none", 20 // far beyond what is read ahead
	trainer, err := New(c, Run{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	truncate(t, filepath.Join(c.Data.Dir, "3.png"))
	err = trainer.Train(t.Context())
	saved := trainer.checkpointPath()
	closeTrainer(t, trainer)
	for _, want := range []string{"3.png", "bad images: ", "the run is saved as " + saved + ": resume it by iddpm resume " + dir} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q: %v", want, err)
		}
	}
	resumed, err := Resume(dir, nil, Run{})
	if err == nil {
		err = errors.Join(resumed.Train(t.Context()), resumed.Close())
	}
	if err == nil || !strings.Contains(err.Error(), "3.png") {
		t.Errorf("the run resumes in spite of the image: %v", err)
	}
	resumed, err = Resume(dir, func(c *runconfig.Config) error { c.Data.MaxBadImages = 1; return nil }, Run{})
	if last := finish(t, resumed, err); last.Step != 20 || last.Config.Data.MaxBadImages != 1 {
		t.Errorf("it ends at step %d, with %d bad images allowed", last.Step, last.Config.Data.MaxBadImages)
	}
}

// truncate cuts off the end of an image file, after its header.
func truncate(t *testing.T, path string) {
	t.Helper()
	if err := os.Truncate(path, int64(len(read(t, path)))-30); err != nil {
		t.Fatal(err)
	}
}

// TestResumeMovedData resumes with images that have moved, to the final state of an
// uninterrupted run. It logs a warning if the images are others.
func TestResumeMovedData(t *testing.T) {
	c, home := madeup.Run(), t.TempDir()
	t.Chdir(home)
	if err := os.Rename(fiveImages(t), "photos"); err != nil {
		t.Fatal(err)
	}
	c.Data.Dir = "photos"
	whole := train(t, c, t.TempDir())
	c.Train.Steps = 3
	dir := t.TempDir()
	if got, want := train(t, c, dir).Config.Data.Dir, filepath.Join(home, "photos"); got != want {
		t.Errorf("the configuration names the images %s, not %s", got, want)
	}
	if err := os.Rename("photos", "moved"); err != nil {
		t.Fatal(err)
	}
	if _, err := Resume(dir, upTo(6), Run{}); err == nil || !strings.Contains(err.Error(), "photos does not exist") || !errors.As(err, new(*MovedError)) {
		t.Errorf("without its images: %v", err)
	}
	to := func(images string) (*observer.ObservedLogs, *checkpoint.Checkpoint) {
		core, logs := observer.New(zapcore.WarnLevel)
		resumed, err := Resume(filepath.Join(dir, checkpoint.Dir, "ckpt-000003.pt"), func(c *runconfig.Config) error {
			c.Data.Dir = images
			return upTo(6)(c)
		}, Run{Dir: t.TempDir() + "/run", Log: zap.New(core)})
		return logs, finish(t, resumed, err)
	}
	logs, last := to("moved")
	if logs.Len() > 0 || last.Config.Data.Dir != filepath.Join(home, "moved") {
		t.Errorf("the configuration names %s, and the log says %v", last.Config.Data.Dir, logs.All())
	}
	sameState(t, whole, last)
	if err := os.Remove("moved/3.png"); err != nil {
		t.Fatal(err)
	}
	if logs, _ = to("moved"); logs.FilterMessage("the images differ from those that the run was started with").Len() != 1 {
		t.Errorf("other images: the log says %v", logs.All())
	}
}

// TestResumeThreads resumes a run of more threads than cores: with one thread per core or the
// requested number, and a log message.
func TestResumeThreads(t *testing.T) {
	var alone *distributed.Group
	cores, c := alone.CPUs(), madeup.Run()
	c.Train.Steps, c.Train.Threads = 2, cores+3
	path := train(t, c, t.TempDir()).Path
	for requested, want := range map[int]int{0: cores, 1: 1, cores + 3: cores + 3} {
		core, logs := observer.New(zapcore.WarnLevel)
		resumed, err := Resume(path, func(c *runconfig.Config) error {
			if requested > 0 {
				c.Train.Threads = requested
			}
			return upTo(3)(c)
		}, Run{Dir: filepath.Join(t.TempDir(), "run"), Log: zap.New(core)})
		last := finish(t, resumed, err)
		if got := last.Config.Train.Threads; got != want || gotorch.CurrentSettings().Threads != want {
			t.Errorf("%d threads requested: %d used, want %d", requested, got, want)
		}
		said := logs.FilterField(zap.Int("was", cores+3)).FilterField(zap.Int("is", want)).FilterField(zap.Int("cores", cores))
		if (said.Len() == 1) != (want != cores+3) {
			t.Errorf("%d threads requested: the log says %v", requested, logs.All())
		}
	}
}
