package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/wangkuiyi/gotorch"
	"go.uber.org/zap"

	"iddpm/train"
)

// processesOption says how many processes work together.
func (o *sessionOptions) processesOption() option {
	return option{name: "processes", category: categoryRun, value: &o.processes,
		usage: "work in `N` processes on this machine, each on a GPU of its own and on its share of the pictures; 0: one per GPU"}
}

// together has this process work by itself or with others: it starts those that
// --processes wants, or is one of those that a launcher has started.
func (p *program) together(ctx context.Context, o sessionOptions, work func(*session) error) (err error) {
	at, err := placeOf(p.env)
	if err != nil {
		return err
	}
	if o.processes < 0 {
		return wrongUse("--processes must not be negative, but is %d", o.processes)
	}
	if !at.together() && o.processes != 1 {
		return p.launch(ctx, o.processes)
	}
	s, err := p.openTogether(o, at)
	if s != nil && s.leave != nil {
		defer func() { s.leave(exitStatus(err) == exitFailed) }()
	}
	if err != nil {
		return at.named(err)
	}
	if n := s.idleGPUs(o.device, at); n > 0 {
		s.log.Info(fmt.Sprintf("%d more GPUs are idle: --processes 0 uses all of them", n))
	}
	return at.named(work(s))
}

// openTogether opens a session, with the other processes that work on the same, if there
// are any.
func (p *program) openTogether(o sessionOptions, at place) (*session, error) {
	if !at.together() {
		return p.open(o)
	}
	s := &session{screen: newScreen(p.stderr), stdout: p.stdout, json: o.json}
	s.log = s.screen.logger(o.logJSON)
	if at.rank > 0 { // what all of them see the first one tells
		p.quiet.Store(true)
		s.log = zap.NewNop()
	}
	var deviceErr error
	s.device, deviceErr = at.openDevice(o.device, s.log)
	err := gotorch.Try(func() {
		group := gotorch.NewProcessGroup(at.options())
		s.peers = train.NewPeers(group, at.here)
		s.leave = group.Close
	})
	if err != nil {
		return s, errors.Join(deviceErr, fmt.Errorf("the %d processes do not come together at %s, port %d: %w", at.size, at.host, at.port, err))
	}
	return s, s.checkDevices(deviceErr)
}

// openDevice returns the device of a name for one of several processes: each has a
// GPU of its own.
func (p place) openDevice(name string, log *zap.Logger) (gotorch.Device, error) {
	if strings.Contains(name, ":") {
		return gotorch.Device{}, wrongUse("--device %s: %d processes cannot all have it: say cuda, and each takes one of its own", name, p.size)
	}
	d, err := openDevice(name, log)
	if err != nil || d.Type != gotorch.CUDA {
		return d, err
	}
	n := gotorch.CUDADeviceCount()
	switch {
	case p.index < n:
		d.Index = p.index
	case n > 1: // with one, the launcher may show each process another
		return d, fmt.Errorf("there are %d GPUs for %d processes on this machine: start as many processes as there are GPUs", n, p.here)
	}
	return d, nil
}

// named adds which process it is to an error of one of several.
func (p place) named(err error) error {
	if err == nil || p.rank == 0 || saidElsewhere(err) {
		return err
	}
	return fmt.Errorf("process %d: %w", p.rank, err)
}

// idleGPUs returns how many GPUs a run leaves idle that has asked for none in
// particular.
func (s *session) idleGPUs(name string, at place) int {
	if s.device.Type != gotorch.CUDA || at.together() || strings.Contains(name, ":") {
		return 0
	}
	return gotorch.CUDADeviceCount() - 1
}

// checkDevices sees to it that all processes have a device, and of one kind.
func (s *session) checkDevices(mine error) error {
	if err := s.peers.Together(mine); err != nil {
		return err
	}
	kinds, err := s.peers.Exchange(strings.TrimRight(s.device.String(), ":0123456789"))
	if err != nil {
		return err
	}
	for rank, kind := range kinds {
		if kind != kinds[0] {
			return wrongUse("process 0 works on %s, and process %d on %s: say by --device which it is to be", kinds[0], rank, kind)
		}
	}
	return nil
}

// connectGPUs lets the GPUs of all processes work as one, where they have some.
func (s *session) connectGPUs() (err error) {
	if s.peers != nil && s.device.Type == gotorch.CUDA {
		err = s.onTensorThread(func() error { s.peers.UseGPU(s.device); return nil })
	}
	return s.peers.Together(err)
}

// lead has the leading process do what concerns the results, and all learn whether it
// went well.
func (s *session) lead(f func() error) error {
	var err error
	if s.peers.Leads() {
		err = f()
	}
	return s.peers.Together(err)
}

// agree returns nil if all processes go on, and else in all of them why they do not; an
// interrupt of one is one of all. It works on the tensor thread.
func (s *session) agree(ctx context.Context, mine error) error {
	if s.peers == nil {
		return mine
	}
	err := s.peers.Agree(ctx, mine)
	if errors.Is(err, train.ErrInterrupted) {
		return context.Canceled
	}
	return err
}

// setThreads sets how many threads work on the CPU: as asked for, or the process's
// share of the cores.
func (s *session) setThreads(n int) {
	if n == 0 {
		n = s.peers.Threads()
	}
	if n > 0 {
		gotorch.SetNumThreads(int32(n))
	}
}

// onTensorThread is the function of that name for work that others take part in.
func (s *session) onTensorThread(f func() error) error { return s.peers.LostTouch(onTensorThread(f)) }
