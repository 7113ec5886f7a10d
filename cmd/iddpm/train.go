package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	urfave "github.com/urfave/cli/v2"
	"go.uber.org/zap"

	"iddpm/internal/cli"
	"iddpm/internal/host"
	"iddpm/internal/runs"
	"iddpm/train"
)

// runOptions are the flags of train and resume in addition to a configuration.
type runOptions struct {
	sessionOptions
	preset     string
	dir        string
	autoResume bool
	reference  referenceOptions
	uploadWait float64 // minutes

	stepTimeout float64 // minutes
	remoteOptions
}

// referenceOptions are flags of improved-diffusion that have another name here.
type referenceOptions struct {
	useFP16 bool   // --precision fp16
	resume  string // iddpm resume
}

func newRunOptions() *runOptions {
	return &runOptions{sessionOptions: defaultSession(), uploadWait: 10, stepTimeout: 60}
}

// uploadOptions are the flags of a run folder at a URL.
func (r *runOptions) uploadOptions() []cli.Option {
	return append(r.remoteOptions.options(), cli.Option{Name: "upload-wait", Category: cli.CategoryRun, Value: &r.uploadWait,
		Usage: "where --run-dir is a URL: at the end, and when interrupted, wait up to `MINUTES` for pending uploads"})
}

func (r *runOptions) stepTimeoutOption() cli.Option {
	return cli.Option{Name: "step-timeout", Category: cli.CategoryRun, Value: &r.stepTimeout,
		Usage: "with several processes: fail after waiting `MINUTES` within a step for a process that has died or hangs"}
}

func (r *runOptions) options() []cli.Option {
	return append(append(r.sessionOptions.options(), r.uploadOptions()...),
		cli.PresetOption(&r.preset), cli.ConfigOption(), r.processesOption(), r.connectOption(), r.stepTimeoutOption(),
		cli.Option{Name: "run-dir", Path: true, Category: cli.CategoryRun, Value: &r.dir, Standard: "runs/NNN-PRESET", Variable: "OPENAI_LOGDIR", Usage: "run folder `DIR` for checkpoints and metrics, or an s3://, gs:// or file:// URL"},
		cli.Option{Name: "auto-resume", Category: cli.CategoryRun, Value: &r.autoResume, Usage: "resume if --run-dir already holds a run"},
		cli.Option{Name: "use-fp16", Category: cli.CategoryTraining, Value: &r.reference.useFP16, Hidden: true},
		cli.Option{Name: "resume-checkpoint", Category: cli.CategoryTraining, Value: &r.reference.resume, Hidden: true},
	)
}

func (p *program) trainCommand() *urfave.Command {
	config := train.Defaults()
	return &urfave.Command{
		Name:      "train",
		Usage:     "train a diffusion model",
		UsageText: "iddpm train [FLAGS]",
		Description: `Trains a diffusion model on the images in --data-dir, or on the built-in emoji, and writes
checkpoints and metrics to a run folder. Without --preset and without any model or diffusion
flag, the settings are those of the preset emoji (emoji-gpu on a GPU); otherwise the defaults
below are the reference's. Ctrl-C saves a checkpoint and stops; "iddpm resume RUN_DIR" continues.

Examples:
  iddpm train
  iddpm train --data-dir photos --steps 5000
  iddpm train --preset cifar10 --data-dir cifar_train --microbatch 32
  iddpm train --run-dir s3://bucket/runs/one --auto-resume
  iddpm train --processes 8 --data-dir photos
  torchrun --no-python --nproc-per-node 8 iddpm train --run-dir runs/one --data-dir photos
  iddpm train --data_dir photos --image_size 64 --num_channels 128 --num_res_blocks 3 \
    --learn_sigma True --diffusion_steps 4000 --noise_schedule cosine --lr 1e-4 --batch_size 128`,
		Flags:           cli.FlagsOf(append(cli.ConfigOptions(&config), newRunOptions().options()...)...),
		HideHelpCommand: true,
		Action:          p.train,
	}
}

func (p *program) train(c *urfave.Context) error {
	r := newRunOptions()
	if err := errors.Join(noArgument(c), cli.Apply(c, r.options())); err != nil {
		return err
	}
	if r.autoResume && r.dir == "" {
		return cli.Errorf("--auto-resume needs --run-dir: without it every run gets a new folder")
	}
	return p.trainDistributed(c.Context, r, func(s *session) error { return s.train(c, r) })
}

// trainDistributed trains in this process, alone or with others: rank 0 calls lead, and the
// others join it.
func (p *program) trainDistributed(ctx context.Context, r *runOptions, lead func(*session) error) error {
	if !(r.stepTimeout > 0) {
		return cli.Errorf("--step-timeout must be above 0 minutes, not %v", r.stepTimeout)
	}
	return p.distributedSession(ctx, r.sessionOptions, func(s *session) error {
		s.stepTimeout = time.Duration(min(r.stepTimeout, 1e6) * float64(time.Minute))
		if err := s.connectGPUs(); err != nil {
			return err
		}
		if !s.group.IsLeader() {
			return s.follow(ctx)
		}
		err := lead(s)
		if err != nil && !s.configured {
			err = s.group.SyncError(err)
		}
		return err
	})
}

// follow trains with the configuration of rank 0.
func (s *session) follow(ctx context.Context) error {
	t, err := train.Join(train.Run{Device: s.device, Group: s.group, Log: s.log, StepTimeout: s.stepTimeout})
	if err != nil {
		return err
	}
	if err = s.group.SyncError(nil); err == nil {
		err = t.Train(ctx)
	}
	return errors.Join(err, t.Close())
}

func (s *session) train(c *urfave.Context, r *runOptions) error {
	config, name, err := s.config(c, r)
	if err != nil {
		return err
	}
	from, err := s.resumePath(r.reference.resume)
	if err != nil {
		return err
	}
	folder, err := s.openRunFolder(c.Context, r, from)
	if err != nil {
		return err
	}
	if r.autoResume && folder.HoldsRun() { // even with --resume-checkpoint
		from = r.dir
	}
	if runs.IsReference(from) {
		return s.resumeReference(c, from, config, folder, name)
	} else if from != "" {
		s.log.Info("resuming a run", zap.String("run", from))
		return s.resumeRun(c.Context, from, folder, s.changes(c, config))
	}
	if err := config.Train.CheckParts(s.group.Size()); err != nil {
		return cli.Usage(err)
	}
	if config.Data.Dir == "" {
		s.log.Info("no --data-dir: training on the built-in emoji")
	}
	return s.startRun(c.Context, folder, name, func(run train.Run) (*train.Trainer, error) { return train.New(config, run) })
}

// startRun trains the run that make creates, in a folder that holds none yet.
func (s *session) startRun(ctx context.Context, folder *runs.Folder, name string, make func(train.Run) (*train.Trainer, error)) error {
	if folder.Remote != nil {
		if err := folder.Remote.Refuse(); err != nil {
			return err
		}
	}
	dir, release, err := runs.NewDir(folder.Dir, name)
	if err != nil {
		return err
	}
	if folder.Remote == nil {
		s.warnOfLoss(dir)
	}
	t, err := make(s.runIn(ctx, folder, dir))
	if err != nil {
		release()
		return err
	}
	return s.trainToTheEnd(ctx, t, folder)
}

// resumeRun resumes a run, in its own folder or in another one that holds no run yet. Both
// may be URLs.
func (s *session) resumeRun(ctx context.Context, from string, folder *runs.Folder, change train.Change) error {
	from, err := folder.Fetch(ctx, from)
	if err != nil {
		return err
	}
	if folder.Remote != nil && !train.BelongsTo(from, folder.Dir) {
		if err := folder.Remote.Refuse(); err != nil {
			return err
		}
	}
	dir, release, err := s.resumeDir(from, folder.Dir)
	if err != nil {
		return err
	}
	if folder.Remote == nil {
		s.warnOfLoss(cmp.Or(dir, train.RunDirOf(from)))
	}
	t, err := train.Resume(from, change, s.runIn(ctx, folder, dir))
	if err != nil {
		release()
		if dir == "" && host.IsRefusal(err) {
			err = fmt.Errorf("%w\n--run-dir DIR resumes in another folder", err)
		}
		return err
	}
	return s.trainToTheEnd(ctx, t, folder)
}

// runIn returns the environment of a run in a local folder. The caller must pass errors of
// creating the trainer to the other processes.
func (s *session) runIn(ctx context.Context, folder *runs.Folder, dir string) train.Run {
	s.configured = true
	return train.Run{Dir: dir, Device: s.device, Group: s.group, Log: s.log, Progress: trainProgress(s.screen), StepTimeout: s.stepTimeout,
		Load: func(checkpoint string) (*train.Checkpoint, error) { return folder.Remotes.Checkpoint(ctx, checkpoint) }}
}

// trainToTheEnd trains to the end or to an interrupt, waits for uploads, and prints the
// summary.
func (s *session) trainToTheEnd(ctx context.Context, t *train.Trainer, folder *runs.Folder) error {
	remote := folder.Remote
	if err := s.group.SyncError(remote.Begin(ctx, t.Config())); err != nil {
		return errors.Join(err, t.Close())
	}
	err := t.Train(ctx)
	s.screen.Done()
	if err != nil && !errors.Is(err, train.ErrInterrupted) && remote != nil { // uploads may take long
		s.log.Error("training has stopped: flushing pending uploads", zap.Error(err))
	}
	sum, config := t.Summary(), t.Config()
	closed := t.Close()
	uploaded := remote.Finish(ctx, folder.UploadWait)
	if remote != nil && uploaded == nil && sum.Checkpoint != "" {
		sum.RunDir, sum.Checkpoint = remote.At.String(), remote.At.Join("checkpoints/"+filepath.Base(sum.Checkpoint)).String()
	}
	if err == nil || errors.Is(err, train.ErrInterrupted) {
		err = errors.Join(err, s.emit(sum, func(w io.Writer) error { return printSummary(w, sum, config) }))
	}
	return errors.Join(err, closed, uploaded)
}
