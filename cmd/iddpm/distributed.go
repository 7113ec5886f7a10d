package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/wangkuiyi/gotorch"
	"go.uber.org/zap"

	"iddpm/checkpoint"
	"iddpm/distributed"
	"iddpm/internal/cli"
	"iddpm/internal/terminal"
	"iddpm/storage"
	"iddpm/train"
)

// processesOption is the number of processes of a run.
func (o *sessionOptions) processesOption() cli.Option {
	return cli.Option{Name: "processes", Category: cli.CategoryRun, Value: &o.processes,
		Usage: "data-parallel processes (ranks) `N` on this machine, one per GPU, each with its share of the batch; 0: one per GPU"}
}

// maxConnectTimeout, in seconds, is a year.
const maxConnectTimeout = 365 * 24 * 3600

// connectOption is the timeout for all processes to start.
func (o *sessionOptions) connectOption() cli.Option {
	return cli.Option{Name: "connect-timeout", Category: cli.CategoryRun, Value: &o.connectTimeout,
		Usage: "with several processes: wait up to `SECONDS` for all of them to start"}
}

// rendezvous logs that a process waits for the others. Every rank logs: the others may
// not have started.
func (o sessionOptions) rendezvous(to *terminal.Screen) distributed.Rendezvous {
	log := to.Logger(o.logJSON)
	return distributed.Rendezvous{
		Timeout: time.Duration(o.connectTimeout) * time.Second,
		Waiting: func(message, reason, hint string) {
			fields := []zap.Field{zap.String("hint", hint)}
			if reason != "" {
				fields = append(fields, zap.String("reason", reason))
			}
			log.Warn(message, fields...)
		},
	}
}

// distributedSession runs work in this process, alone or as one of the processes of a
// launcher, or starts --processes processes that do.
func (p *program) distributedSession(ctx context.Context, o sessionOptions, work func(*session) error) (err error) {
	at, err := distributed.FromEnvironment(p.env)
	if err != nil {
		return cli.Usage(err)
	}
	if o.processes < 0 {
		return cli.Errorf("--processes must not be negative, but is %d", o.processes)
	}
	if o.connectTimeout < 1 || o.connectTimeout > maxConnectTimeout {
		return cli.Errorf("--connect-timeout must be from 1 to %d seconds, not %d", maxConnectTimeout, o.connectTimeout)
	}
	if at.WorldSize == 1 && o.processes != 1 {
		return p.launch(ctx, o)
	}
	s, err := p.openDistributed(ctx, o, at)
	if err != nil {
		return named(err, at.Rank)
	}
	if n := s.idleGPUs(o.device); n > 0 {
		s.log.Info(fmt.Sprintf("%d more GPUs are idle: --processes 0 uses all of them", n))
	}
	err = work(s)
	if err == nil || allKnow(err) {
		// A launcher ends all processes when the first one fails, so all wait here until
		// rank 0 has finished its uploads. After an error of this process alone there is
		// no barrier: its exit tells the others.
		_ = s.group.Barrier()
		s.group.Close()
	}
	return named(err, at.Rank)
}

// allKnow reports whether all processes have returned this error, so that a barrier
// cannot hang.
func allKnow(err error) bool {
	var synced *distributed.Error
	return errors.As(err, &synced) || errors.Is(err, train.ErrInterrupted) || errors.Is(err, context.Canceled)
}

// openDistributed opens a session, and joins the process group if there are several
// processes.
func (p *program) openDistributed(ctx context.Context, o sessionOptions, at distributed.Placement) (s *session, err error) {
	if at.WorldSize == 1 {
		return p.open(o)
	}
	s = p.newSession(o.json, o.logJSON)
	if at.Rank > 0 { // only rank 0 logs
		p.quiet.Store(true)
		s.log = zap.NewNop()
	}
	// libtorch must choose its devices before the rendezvous.
	var deviceErr error
	if strings.Contains(o.device, ":") {
		deviceErr = cli.Errorf("--device %s: %d processes cannot share one GPU: with --device cuda each process uses its own", o.device, at.WorldSize)
	} else {
		s.device, deviceErr = s.devices().find(o.device)
	}
	if s.group, err = distributed.InitProcessGroup(ctx, at, o.rendezvous(s.screen)); err != nil {
		return nil, errors.Join(deviceErr, err)
	}
	if deviceErr == nil && s.device.Type == gotorch.CUDA {
		if s.device.Index, deviceErr = s.group.GPU(gotorch.CUDADeviceCount()); deviceErr == nil {
			deviceErr = gotorch.CheckCUDADevice(s.device)
		}
	}
	if err := s.checkDevices(deviceErr); err != nil {
		return nil, err
	}
	if s.device.Type == gotorch.CPU {
		s.logGloo(s.group.GlooReason())
	}
	return s, s.group.CheckSame("version", version)
}

// logGloo says why processes of one machine use gloo, unless they share memory.
func (s *session) logGloo(reason string) {
	if reason != "" {
		s.log.Info("all-reduces go through gloo, which is slower than shared memory", zap.String("reason", reason))
	}
}

// named adds the rank to an error of one of several processes.
func named(err error, rank int) error {
	if err == nil || rank == 0 || saidElsewhere(err) {
		return err
	}
	return fmt.Errorf("process %d: %w", rank, err)
}

// idleGPUs returns the number of GPUs that a run of one process leaves idle; 0 if it
// names its GPU.
func (s *session) idleGPUs(name string) int {
	if s.device.Type != gotorch.CUDA || s.group != nil || strings.Contains(name, ":") {
		return 0
	}
	return gotorch.CUDADeviceCount() - 1
}

// checkDevices returns an error in all processes unless all have a device of one type.
func (s *session) checkDevices(mine error) error {
	if err := s.group.SyncError(mine); err != nil {
		return err
	}
	kinds, err := distributed.AllGather(s.group, strings.TrimRight(s.device.String(), ":0123456789"))
	if err != nil {
		return err
	}
	for rank, kind := range kinds {
		if kind != kinds[0] {
			return s.group.SyncError(cli.Errorf("process 0 runs on %s, and process %d on %s: choose one by --device", kinds[0], rank, kind))
		}
	}
	return nil
}

// connectGPUs opens the NCCL communicator of all processes, if they run on GPUs.
func (s *session) connectGPUs() (err error) {
	if s.group != nil && s.device.Type == gotorch.CUDA {
		err = s.group.UseGPU(s.device)
	}
	return s.group.SyncError(err)
}

// loadOnLeader loads in all processes the checkpoint that rank 0 finds: the newest one of
// a run folder may change between two loads.
func (s *session) loadOnLeader(arg string, load func(path string) (*checkpoint.Checkpoint, error)) (c *checkpoint.Checkpoint, err error) {
	if s.group == nil {
		return load(arg)
	}
	err = s.group.OnLeader(func() error { c, err = load(arg); return err })
	if err != nil {
		return nil, err
	}
	found := ""
	if c != nil && !storage.IsURL(arg) {
		found = c.Path
	}
	if found, err = distributed.Broadcast(s.group, found); err != nil {
		return nil, err
	}
	if !s.group.IsLeader() {
		c, err = load(cmp.Or(found, arg))
	}
	if err = s.group.SyncError(err); err != nil || c == nil {
		return nil, err
	}
	sum, err := c.Sum()
	if err = s.group.SyncError(err); err != nil {
		return nil, err
	}
	return c, s.group.CheckSame("checkpoint "+c.Path, sum)
}
