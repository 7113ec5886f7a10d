package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/wangkuiyi/gotorch"
	"go.uber.org/zap"

	"iddpm/storage"
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
		return p.launch(ctx, o)
	}
	s, err := p.openTogether(ctx, o, at)
	if err != nil {
		return at.named(err)
	}
	if n := s.idleGPUs(o.device, at); n > 0 {
		s.log.Info(fmt.Sprintf("%d more GPUs are idle: --processes 0 uses all of them", n))
	}
	err = work(s)
	if err == nil || train.Agreed(err) || errors.Is(err, context.Canceled) {
		// A launcher takes the first process that ends in failure for a reason to end the
		// others: all wait until the leading one has sent what it has to send. Of an error
		// that the others do not know of they learn by the end of this process.
		_ = s.peers.Together(nil)
		s.peers.Close()
	}
	return at.named(err)
}

// openTogether opens a session, with the other processes that work on the same, if there
// are any.
func (p *program) openTogether(ctx context.Context, o sessionOptions, at place) (*session, error) {
	if !at.together() {
		return p.open(o)
	}
	s := &session{screen: newScreen(p.stderr), stdout: p.stdout, json: o.json}
	s.log = s.screen.logger(o.logJSON)
	if at.rank > 0 { // what all of them see the first one tells
		p.quiet.Store(true)
		s.log = zap.NewNop()
	}
	// libtorch settles early which devices it has: before the processes meet.
	var deviceErr error
	if strings.Contains(o.device, ":") {
		deviceErr = wrongUse("--device %s: %d processes cannot all have it: say cuda, and each takes one of its own", o.device, at.size)
	} else {
		s.device, deviceErr = openDevice(o.device, s.log)
	}
	if err := s.meet(ctx, &at); err != nil {
		return nil, errors.Join(deviceErr, err)
	}
	if deviceErr == nil && s.device.Type == gotorch.CUDA {
		s.device.Index, deviceErr = at.gpu(gotorch.CUDADeviceCount())
	}
	if err := s.checkDevices(deviceErr); err != nil {
		return nil, err
	}
	return s, s.peers.Same("version", version)
}

// meet waits until all processes have come, or ctx ends.
func (s *session) meet(ctx context.Context, at *place) error {
	var group *gotorch.ProcessGroup
	met := make(chan error, 1)
	go func() { met <- gotorch.Try(func() { group = gotorch.NewProcessGroup(at.options()) }) }()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case err := <-met:
		if err != nil {
			return fmt.Errorf("the %d processes do not come together at %s, port %d (GLOO_SOCKET_IFNAME names the network interface to use): %w", at.size, at.host, at.port, err)
		}
	}
	s.peers = train.NewPeers(group, 1)
	err := at.count(s.peers)
	s.peers = train.NewPeers(group, at.here)
	return err
}

// gpu returns which of a machine's GPUs is this process's.
func (p place) gpu(n int) (int, error) {
	switch {
	case p.index < n:
		return p.index, nil
	case n == 1: // the launcher may show each process another
		return 0, nil
	}
	return 0, fmt.Errorf("there are %d GPUs for %d processes on this machine: start as many processes as there are GPUs", n, p.here)
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
			return s.peers.Together(wrongUse("process 0 works on %s, and process %d on %s: say by --device which it is to be", kinds[0], rank, kind))
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

// onTensorThread is the function of that name for work that others take part in.
func (s *session) onTensorThread(f func() error) error { return s.peers.LostTouch(onTensorThread(f)) }

// loadTogether has all processes load the checkpoint that the leading one finds where an
// argument says: in a run folder the newest may be another a moment later.
func (s *session) loadTogether(arg string, load func(path string) (*train.Checkpoint, error)) (c *train.Checkpoint, err error) {
	if s.peers == nil {
		return load(arg)
	}
	err = s.peers.Lead(func() error { c, err = load(arg); return err })
	if err != nil {
		return nil, err
	}
	found := ""
	if c != nil && !storage.IsURL(arg) {
		found = c.Path
	}
	all, err := s.peers.Exchange(found)
	if err != nil {
		return nil, err
	}
	if !s.peers.Leads() {
		c, err = load(cmp.Or(all[0], arg))
	}
	if err = s.peers.Together(err); err != nil || c == nil {
		return nil, err
	}
	sum, err := fileSum(c.Path)
	if err = s.peers.Together(err); err != nil {
		return nil, err
	}
	return c, s.peers.Same("checkpoint "+c.Path, sum)
}
