package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"
	"github.com/wangkuiyi/gotorch"
	"go.uber.org/zap"

	"iddpm/data"
	"iddpm/train"
)

// runOptions are what train and resume need beside a configuration.
type runOptions struct {
	sessionOptions
	preset     string
	dir        string
	autoResume bool
	reference  referenceOptions
}

// referenceOptions are flags of the reference that go by another name here.
type referenceOptions struct {
	useFP16 bool   // --precision fp16
	resume  string // iddpm resume
}

func newRunOptions() *runOptions { return &runOptions{sessionOptions: defaultSession()} }

func (r *runOptions) options() []option {
	return append(r.sessionOptions.options(),
		presetOption(&r.preset), configOption(),
		option{name: "run-dir", category: categoryRun, value: &r.dir, standard: "runs/NNN-PRESET", variable: "OPENAI_LOGDIR", usage: "keep checkpoints and metrics in `DIR`"},
		option{name: "auto-resume", category: categoryRun, value: &r.autoResume, usage: "if --run-dir holds a run, go on with it"},
		option{name: "use-fp16", category: categoryTraining, value: &r.reference.useFP16, hidden: true},
		option{name: "resume-checkpoint", category: categoryTraining, value: &r.reference.resume, hidden: true},
	)
}

func presetNames() string {
	var names []string
	for _, p := range train.Presets() {
		names = append(names, p.Name)
	}
	return strings.Join(names, ", ")
}

func (p *program) trainCommand() *cli.Command {
	config := train.Defaults()
	return &cli.Command{
		Name:      "train",
		Usage:     "learn from pictures",
		UsageText: "iddpm train [FLAGS]",
		Description: `Trains a network to draw pictures like those in --data-dir, or like the built-in emoji, and
keeps checkpoints and metrics in a run folder. Without --preset or a flag of the network or the
diffusion, the settings are those of preset emoji (emoji-gpu on a GPU); with one, the defaults
below are the reference's. Ctrl-C saves before it stops; "iddpm resume RUN_DIR" goes on.

Examples:
  iddpm train
  iddpm train --data-dir photos --steps 5000
  iddpm train --preset cifar10 --data-dir cifar_train --microbatch 32
  iddpm train --data_dir photos --image_size 64 --num_channels 128 --num_res_blocks 3 \
    --learn_sigma True --diffusion_steps 4000 --noise_schedule cosine --lr 1e-4 --batch_size 128`,
		Flags:           flagsOf(append(configOptions(&config), newRunOptions().options()...)...),
		HideHelpCommand: true,
		Action:          p.train,
	}
}

func (p *program) train(c *cli.Context) error {
	r := newRunOptions()
	if err := errors.Join(noArgument(c), apply(c, r.options())); err != nil {
		return err
	}
	if r.autoResume && r.dir == "" {
		return wrongUse("--auto-resume needs --run-dir: without it every run has a folder of its own")
	}
	s, err := p.open(r.sessionOptions)
	if err != nil {
		return err
	}
	config, name, err := s.config(c, r)
	if err != nil {
		return err
	}
	if from := r.resumes(); train.IsReference(from) {
		return s.adopt(c, from, config, r, name)
	} else if from != "" {
		s.log.Info("going on with a run: its own settings count, not those of this command line", zap.String("run", from))
		return s.resume(c.Context, from, r.dir, givenSteps(c, config))
	}
	if config.Data.Dir == "" {
		s.log.Info("no --data-dir: training on the built-in emoji")
	}
	return s.begin(c.Context, config, r.dir, name)
}

// config returns the configuration that the flags describe, and a name for it.
func (s *session) config(c *cli.Context, r *runOptions) (train.Config, string, error) {
	config, name, err := s.base(c, r.preset)
	if err != nil {
		return config, "", err
	}
	if err := configure(c, &config, configOptions(&config)); err != nil {
		return config, "", err
	}
	if r.reference.useFP16 && !c.IsSet("precision") {
		config.Train.Precision = "fp16"
	}
	if err := inferClasses(&config); err != nil {
		return config, "", err
	}
	if err := config.Validate(); err != nil {
		return config, "", usageError{err}
	}
	return config, name, nil
}

// base returns the configuration that flags change, and its name: a preset's,
// or the reference's as soon as a flag says what to train.
func (s *session) base(c *cli.Context, preset string) (train.Config, string, error) {
	name := preset
	if name == "" {
		config := train.Defaults()
		if anySet(c, modelOptions(&config)) || anySet(c, diffusionOptions(&config)) {
			return config, "custom", nil
		}
		name = "emoji"
		if s.device.Type == gotorch.CUDA {
			name = "emoji-gpu"
		}
		s.log.Info("no --preset and no network named: taking a preset that fits the device", zap.String("preset", name))
	}
	config, err := baseConfig(name)
	return config, name, err
}

// baseConfig returns the configuration of a preset, or the reference's if none
// is named.
func baseConfig(preset string) (train.Config, error) {
	if preset == "" {
		return train.Defaults(), nil
	}
	p, err := train.LookupPreset(preset)
	if err != nil {
		return p.Config, wrongUse("--preset: %w", err)
	}
	return p.Config, nil
}

// inferClasses counts the classes of the pictures, if nobody said how many
// there are.
func inferClasses(config *train.Config) error {
	if !config.Model.ClassCond || config.Model.NumClasses != 0 {
		return nil
	}
	pictures, err := data.Open(config.Data.Dir, config.DataOptions())
	if err != nil {
		return err
	}
	config.Model.NumClasses = pictures.NumClasses()
	return pictures.Close()
}

// resumes returns the run that train is to go on with, or "".
func (r *runOptions) resumes() string {
	if r.autoResume && train.Exists(r.dir) { // begun from r.reference.resume, perhaps
		return r.dir
	}
	return r.reference.resume
}

func givenSteps(c *cli.Context, config train.Config) int {
	if c.IsSet("steps") {
		return config.Train.Steps
	}
	return 0
}

// begin trains a fresh run.
func (s *session) begin(ctx context.Context, config train.Config, dir, name string) error {
	return s.fresh(ctx, dir, name, func(run train.Run) (*train.Trainer, error) { return train.New(config, run) })
}

// fresh trains what makes a new run folder.
func (s *session) fresh(ctx context.Context, dir, name string, make func(train.Run) (*train.Trainer, error)) error {
	dir, release, err := runDir(dir, name)
	if err != nil {
		return err
	}
	t, err := make(train.Run{Dir: dir, Device: s.device, Log: s.log, Progress: s.screen.trainProgress()})
	if err != nil {
		release()
		return err
	}
	return s.carryOut(ctx, t)
}

// resume goes on with a run, in its own folder if none is named.
func (s *session) resume(ctx context.Context, from, dir string, steps int) error {
	t, err := train.Resume(from, steps, train.Run{Dir: dir, Device: s.device, Log: s.log, Progress: s.screen.trainProgress()})
	if err != nil {
		return err
	}
	return s.carryOut(ctx, t)
}

// carryOut trains to the end, or to an interrupt, and prints what came of it.
func (s *session) carryOut(ctx context.Context, t *train.Trainer) error {
	err := t.Train(ctx)
	s.screen.done()
	if err == nil || errors.Is(err, train.ErrInterrupted) {
		sum, total := t.Summary(), t.Config().Train.TotalSteps()
		err = errors.Join(err, s.emit(sum, func(w io.Writer) error { return printSummary(w, sum, total) }))
	}
	return errors.Join(err, t.Close())
}

// printSummary says what a run of total steps came to, and what can be done
// with it.
func printSummary(w io.Writer, sum train.Summary, total int) error {
	more := ""
	if sum.Step == total {
		more = fmt.Sprintf(" --steps %d", 2*total)
	}
	loss := "as it was: nothing was left to do"
	if sum.FirstLoss != 0 {
		loss = fmt.Sprintf("%.4g -> %.4g", sum.FirstLoss, sum.LastLoss)
	}
	_, err := fmt.Fprintf(w, `step        %d, after %.1f s
loss        %s
run folder  %s
checkpoint  %s
go on       iddpm resume %s%s
draw        iddpm sample %s
`, sum.Step, sum.Seconds, loss, sum.RunDir, sum.Checkpoint, sum.RunDir, more, sum.RunDir)
	return err
}

// trainProgress returns what moves the bar of a training run.
func (s *screen) trainProgress() func(train.Progress) {
	first := math.MaxInt // the step before the first one taken here
	return func(at train.Progress) {
		first = min(first, at.Step-1)
		what, left := fmt.Sprintf("step %d", at.Step), -1
		if at.Total > 0 {
			what, left = fmt.Sprintf("step %d/%d", at.Step, at.Total), at.Total-first
		}
		s.show(at.Step-first, left, fmt.Sprintf("%s  loss %.4f  %.1f img/s ", what, at.Loss, at.ImagesPerSecond))
	}
}

// runsDir is the folder of the run folders that nobody named.
const runsDir = "runs"

// runDir returns the folder of a new run: the one that is named, or the next
// number of runs/NNN-NAME, which it makes so that no other process takes it.
// release undoes that, if the folder is still empty.
func runDir(named, name string) (dir string, release func(), err error) {
	if named != "" {
		return named, func() {}, nil
	}
	if err := os.MkdirAll(runsDir, 0o777); err != nil {
		return "", nil, fmt.Errorf("cannot make a run folder: %w", err)
	}
	for n := 1; ; n++ {
		if taken, _ := filepath.Glob(filepath.Join(runsDir, fmt.Sprintf("%03d-*", n))); len(taken) > 0 {
			continue
		}
		dir := filepath.Join(runsDir, fmt.Sprintf("%03d-%s", n, name))
		err := os.Mkdir(dir, 0o777)
		if errors.Is(err, os.ErrExist) {
			continue
		}
		return dir, func() { os.Remove(dir) }, err
	}
}
