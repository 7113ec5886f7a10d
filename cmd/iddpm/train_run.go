package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	urfave "github.com/urfave/cli/v2"
	"github.com/wangkuiyi/gotorch"
	"go.uber.org/zap"

	"iddpm/checkpoint"
	"iddpm/internal/cli"
	"iddpm/internal/host"
	"iddpm/internal/runs"
	"iddpm/runconfig"
	"iddpm/train"
	"iddpm/train/preview"
)

// trainDistributed trains in this process, alone or with others: rank 0 calls lead, and the
// others join it.
func (p *program) trainDistributed(ctx context.Context, r *runOptions, lead func(*session) error) error {
	if err := r.validate(); err != nil {
		return err
	}
	return p.distributedSession(ctx, r.sessionOptions, func(s *session) error {
		s.servers = &r.servers
		s.stepTimeout = minutes(r.stepTimeout)
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
	t, err := train.Join(train.Run{Device: s.device, Group: s.group, Log: s.log, StepTimeout: s.stepTimeout, Observers: s.observers()})
	if err != nil {
		return err
	}
	configure(func(o *gotorch.Settings) { *o = t.Settings() })
	if err = s.group.SyncError(nil); err == nil {
		err = t.Train(ctx)
	}
	return errors.Join(err, t.Close())
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
	run := train.Run{Dir: dir, Device: s.device, Group: s.group, Log: s.log, Progress: trainProgress(s.screen), StepTimeout: s.stepTimeout, Observers: s.observers(), AdaptThreads: true,
		Load: func(checkpoint string) (*checkpoint.Checkpoint, error) {
			return folder.Remotes.Checkpoint(ctx, checkpoint)
		}}
	s.servers.hook(&run)
	return run
}

// observers returns what works with the network during training. The configuration says when.
func (s *session) observers() []train.Observer {
	return []train.Observer{new(preview.Sampler), &preview.Evaluator{Weights: s.trainingInception}}
}

// trainingInception returns the weights of the Inception network for the evaluation of samples.
func (s *session) trainingInception(ctx context.Context) (string, error) {
	return s.inceptionWeights(ctx, "--eval-inception")
}

// trainToTheEnd trains to the end or to an interrupt, waits for uploads, and prints the
// summary.
func (s *session) trainToTheEnd(ctx context.Context, t *train.Trainer, folder *runs.Folder) error {
	remote := folder.Remote
	begun := errors.Join(remote.Begin(ctx, t.Config()), s.servers.start(ctx, t.Summary().RunDir, s.log))
	defer s.servers.close()
	if err := s.group.SyncError(begun); err != nil {
		return errors.Join(err, t.Close())
	}
	configure(func(o *gotorch.Settings) { *o = t.Settings() })
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

// resumeReference resumes a run of improved-diffusion, in a new run folder.
func (s *session) resumeReference(c *urfave.Context, from string, config runconfig.Config, folder *runs.Folder, name string) error {
	if c.String("preset") == "" && !cli.AnySet(c, cli.ModelOptions(&config)) && !cli.AnySet(c, cli.DiffusionOptions(&config)) {
		return cli.Errorf("%s holds only weights: describe their network by --preset or by the flags it was trained with", from)
	}
	from, err := folder.Remotes.Reference(c.Context, from)
	if err != nil {
		return err
	}
	return s.startRun(c.Context, folder, name, func(run train.Run) (*train.Trainer, error) { return train.ResumeReference(from, config, run) })
}
