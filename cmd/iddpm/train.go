package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/urfave/cli/v2"
	"github.com/wangkuiyi/gotorch"
	"go.uber.org/zap"

	"iddpm/data"
	"iddpm/storage"
	"iddpm/train"
)

// runOptions are what train and resume need beside a configuration.
type runOptions struct {
	sessionOptions
	preset     string
	dir        string
	autoResume bool
	reference  referenceOptions
	uploadWait float64 // minutes
	remoteOptions
}

// referenceOptions are flags of the reference that go by another name here.
type referenceOptions struct {
	useFP16 bool   // --precision fp16
	resume  string // iddpm resume
}

func newRunOptions() *runOptions {
	return &runOptions{sessionOptions: defaultSession(), uploadWait: 10}
}

// uploadOptions are the flags of a run folder behind a URL.
func (r *runOptions) uploadOptions() []option {
	return append(r.remoteOptions.options(), option{name: "upload-wait", category: categoryRun, value: &r.uploadWait,
		usage: "where --run-dir is a URL: in the end, and when interrupted, wait up to `MINUTES` for uploads"})
}

func (r *runOptions) options() []option {
	return append(append(r.sessionOptions.options(), r.uploadOptions()...),
		presetOption(&r.preset), configOption(), r.processesOption(),
		option{name: "run-dir", category: categoryRun, value: &r.dir, standard: "runs/NNN-PRESET", variable: "OPENAI_LOGDIR", usage: "keep checkpoints and metrics in `DIR`, or behind an s3://, gs:// or file:// URL"},
		option{name: "auto-resume", category: categoryRun, value: &r.autoResume, usage: "if --run-dir holds a run, go on with it"},
		option{name: "use-fp16", category: categoryTraining, value: &r.reference.useFP16, hidden: true},
		option{name: "resume-checkpoint", category: categoryTraining, value: &r.reference.resume, hidden: true},
	)
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
  iddpm train --run-dir s3://bucket/runs/one --auto-resume
  iddpm train --processes 8 --data-dir photos
  torchrun --no-python --nproc-per-node 8 iddpm train --run-dir runs/one --data-dir photos
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
	return p.trainTogether(c.Context, r, func(s *session) error { return s.train(c, r) })
}

// trainTogether has this process train, by itself or with others: the one that leads
// calls lead, and the others do as it does.
func (p *program) trainTogether(ctx context.Context, r *runOptions, lead func(*session) error) error {
	return p.together(ctx, r.sessionOptions, func(s *session) error {
		if err := s.connectGPUs(); err != nil {
			return err
		}
		if !s.group.IsLeader() {
			return s.follow(ctx)
		}
		err := lead(s)
		if err != nil && !s.begun {
			err = s.group.SyncError(err)
		}
		return err
	})
}

// follow trains as another process says.
func (s *session) follow(ctx context.Context) error {
	t, err := train.Follow(train.Run{Device: s.device, Group: s.group, Log: s.log})
	if err != nil {
		return err
	}
	if err = s.group.SyncError(nil); err == nil {
		err = t.Train(ctx)
	}
	return errors.Join(err, t.Close())
}

func (s *session) train(c *cli.Context, r *runOptions) error {
	config, name, err := s.config(c, r)
	if err != nil {
		return err
	}
	from, err := s.resumes(c.Context, r)
	if err != nil {
		return err
	}
	if isReference(from) {
		return s.adopt(c, from, config, r, name)
	} else if from != "" {
		s.log.Info("going on with a run", zap.String("run", from))
		return s.resume(c.Context, from, r, s.changes(c, config))
	}
	if err := config.Train.CheckParts(s.group.Size()); err != nil {
		return usageError{err}
	}
	if config.Data.Dir == "" {
		s.log.Info("no --data-dir: training on the built-in emoji")
	}
	return s.begin(c.Context, config, r, name)
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
	if err := checkThreads(config.Train.Threads); err != nil {
		return config, "", err
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

// checkThreads refuses numbers of threads with which a step takes forever. It is
// no part of a configuration's own check: a checkpoint may come from a larger
// machine.
func checkThreads(n int) error {
	if cores := runtime.NumCPU(); n < 0 || n > 4*cores {
		return wrongUse("--threads must be from 0, one per core, to %d, not %d: this machine has %d cores", 4*cores, n, cores)
	}
	return nil
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
func (s *session) resumes(ctx context.Context, r *runOptions) (string, error) {
	dir, err := s.openRunDir(ctx, r)
	if err != nil {
		return "", err
	}
	if r.autoResume && (train.Exists(dir) || s.remote != nil && s.remote.holdsRun()) { // begun from r.reference.resume, perhaps
		return r.dir, nil
	}
	return r.reference.resume, nil
}

// openRunDir returns the folder on this machine that stands for --run-dir.
func (s *session) openRunDir(ctx context.Context, r *runOptions) (string, error) {
	if !storage.IsURL(r.dir) {
		return r.dir, nil
	}
	if s.remote == nil {
		at, err := storage.Parse(r.dir)
		if err != nil {
			return "", usageError{err}
		}
		if s.remote, err = s.remotes(r.remoteOptions).open(ctx, at); err != nil {
			return "", err
		}
	}
	return s.remote.dir, nil
}

// begin trains a fresh run.
func (s *session) begin(ctx context.Context, config train.Config, r *runOptions, name string) error {
	return s.fresh(ctx, r, name, func(run train.Run) (*train.Trainer, error) { return train.New(config, run) })
}

// fresh trains what makes a new run folder.
func (s *session) fresh(ctx context.Context, r *runOptions, name string, make func(train.Run) (*train.Trainer, error)) error {
	dir, err := s.openRunDir(ctx, r)
	if err != nil {
		return err
	}
	if s.remote != nil {
		if err := s.remote.refuse(); err != nil {
			return err
		}
	}
	dir, release, err := runDir(dir, name)
	if err != nil {
		return err
	}
	t, err := make(s.run(ctx, r, dir))
	if err != nil {
		release()
		return err
	}
	return s.carryOut(ctx, t, r)
}

// run is what surrounds a run in a folder.
func (s *session) run(ctx context.Context, r *runOptions, dir string) train.Run {
	s.begun = true
	return train.Run{Dir: dir, Device: s.device, Group: s.group, Log: s.log, Progress: s.screen.trainProgress(),
		Load: func(checkpoint string) (*train.Checkpoint, error) {
			return s.remotes(r.remoteOptions).checkpoint(ctx, checkpoint)
		}}
}

// resume goes on with a run, in its own folder if none is named. Both may be
// behind URLs.
func (s *session) resume(ctx context.Context, from string, r *runOptions, change train.Change) error {
	if r.dir == "" && storage.IsURL(from) {
		at, err := runURL(from)
		if err != nil {
			return err
		}
		r.dir = at.String()
	}
	dir, err := s.openRunDir(ctx, r)
	if err != nil {
		return err
	}
	if from, err = s.bring(ctx, from, r); err != nil {
		return err
	}
	if s.remote != nil && !train.BelongsTo(from, dir) {
		if err := s.remote.refuse(); err != nil {
			return err
		}
	}
	t, err := train.Resume(from, change, s.run(ctx, r, dir))
	if err != nil {
		return err
	}
	return s.carryOut(ctx, t, r)
}

// bring returns where on this machine lies what a run is to go on from.
func (s *session) bring(ctx context.Context, from string, r *runOptions) (string, error) {
	if s.remote != nil && storage.IsURL(from) {
		if at, err := storage.Parse(from); err != nil || at == s.remote.At {
			return s.remote.dir, errors.Join(err, s.remote.bring(ctx))
		}
	}
	if s.remote != nil && s.remote.holdsRun() { // its log goes on, whichever checkpoint it goes on from
		if err := s.remote.bringTexts(ctx); err != nil {
			return "", err
		}
	}
	from, _, err := s.remotes(r.remoteOptions).local(ctx, from)
	return from, err
}

// carryOut trains to the end, or to an interrupt, waits for uploads, and prints
// what came of it.
func (s *session) carryOut(ctx context.Context, t *train.Trainer, r *runOptions) error {
	if err := s.group.SyncError(s.remote.begin(ctx, t.Config())); err != nil {
		return errors.Join(err, t.Close())
	}
	err := t.Train(ctx)
	s.screen.done()
	if err != nil && !errors.Is(err, train.ErrInterrupted) && s.remote != nil { // sending may take long
		s.log.Error("training has stopped: what is not there yet is being sent", zap.Error(err))
	}
	sum, config := t.Summary(), t.Config()
	closed := t.Close()
	uploaded := s.remote.finish(ctx, time.Duration(r.uploadWait*float64(time.Minute)))
	if s.remote != nil && uploaded == nil && sum.Checkpoint != "" {
		sum.RunDir, sum.Checkpoint = s.remote.At.String(), s.remote.At.Join("checkpoints/"+filepath.Base(sum.Checkpoint)).String()
	}
	if err == nil || errors.Is(err, train.ErrInterrupted) {
		err = errors.Join(err, s.emit(sum, func(w io.Writer) error { return printSummary(w, sum, config) }))
	}
	return errors.Join(err, closed, uploaded)
}

// printSummary says what a run came to, and what can be done with it.
func printSummary(w io.Writer, sum train.Summary, config train.Config) error {
	more, input := "", ""
	if total := config.Train.TotalSteps(); sum.Step == total {
		more = fmt.Sprintf(" --steps %d", 2*total)
	}
	if config.Model.SuperRes() {
		input = " --base-samples FOLDER"
	}
	loss := "not known: stopped before the first step"
	switch total := config.Train.TotalSteps(); {
	case sum.FirstLoss != 0:
		loss = fmt.Sprintf("%.4g -> %.4g", sum.FirstLoss, sum.LastLoss)
	case total > 0 && sum.Step >= total:
		loss = "as it was: nothing was left to do"
	}
	_, err := fmt.Fprintf(w, `step        %d, after %.1f s
loss        %s
run folder  %s
checkpoint  %s
go on       iddpm resume %s%s
draw        iddpm sample %s%s
`, sum.Step, sum.Seconds, loss, sum.RunDir, sum.Checkpoint, shellWord(sum.RunDir), more, shellWord(sum.RunDir), input)
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
