package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/wangkuiyi/gotorch"
	"go.uber.org/zap"

	"iddpm/train"
)

// sessionOptions are what all commands that compute have in common.
type sessionOptions struct {
	device  string
	json    bool
	logJSON bool
}

func defaultSession() sessionOptions { return sessionOptions{device: "auto"} }

func (o *sessionOptions) options() []option {
	return []option{
		{name: "device", category: categoryRun, value: &o.device, usage: "work on `DEVICE`: cpu, cuda, cuda:N, or auto: a GPU if there is one"},
		{name: "json", category: categoryRun, value: &o.json, usage: "print the result as one JSON object"},
		{name: "log-json", category: categoryRun, value: &o.logJSON, usage: "log in JSON, a line per event"},
	}
}

// session is a command at work.
type session struct {
	device gotorch.Device
	log    *zap.Logger
	screen *screen
	stdout io.Writer
	json   bool
	remote *remote           // the run folder, if it is behind a URL
	peers  *train.Peers      // the processes that train together with this one; nil: none
	begun  bool              // the others know what is to be trained
	leave  func(failed bool) // them
}

func (p *program) open(o sessionOptions) (*session, error) {
	s := &session{screen: newScreen(p.stderr), stdout: p.stdout, json: o.json}
	s.log = s.screen.logger(o.logJSON)
	var err error
	s.device, err = openDevice(o.device, s.log)
	return s, err
}

// openTogether opens a session of a run, with the other processes that train it, if
// there are any.
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
		return s, errors.Join(deviceErr, fmt.Errorf("the %d processes of the run do not come together at %s, port %d: %w", at.size, at.host, at.port, err))
	}
	return s, s.joinDevices(deviceErr)
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
	if err == nil || saidElsewhere(err) {
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

// joinDevices sees to it that all processes have devices of one kind, and connects
// them.
func (s *session) joinDevices(err error) error {
	if err := s.peers.Together(err); err != nil {
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
	if s.device.Type == gotorch.CUDA {
		err = onTensorThread(func() error { s.peers.UseGPU(s.device); return nil })
	}
	return s.peers.Together(err)
}

// emit prints a command's result: one JSON object, or as text writes it.
func (s *session) emit(result any, text func(io.Writer) error) error {
	if s.json {
		return json.NewEncoder(s.stdout).Encode(result)
	}
	return text(s.stdout)
}

// openDevice returns the device of a name. "auto" takes a GPU, or says why it
// cannot.
func openDevice(name string, log *zap.Logger) (gotorch.Device, error) {
	if err := gotorch.LoadLibrary(); err != nil {
		return gotorch.Device{}, err
	}
	if name == "auto" {
		if err := gotorch.LoadCUDA(); err != nil {
			log.Info("working on the CPU", zap.String("because", err.Error()))
			return gotorch.Device{}, nil
		}
		return gotorch.Device{Type: gotorch.CUDA}, nil
	}
	d, err := gotorch.ParseDevice(name)
	if err != nil {
		return d, wrongUse("--device: %w", err)
	}
	if d.Type == gotorch.CPU {
		return d, nil
	}
	if err := gotorch.LoadCUDA(); err != nil {
		return d, err
	}
	if n := gotorch.CUDADeviceCount(); d.Index >= n {
		return d, wrongUse("--device %s: there are %d GPUs, cuda:0 the first", name, n)
	}
	return d, nil
}

// onTensorThread runs f where tensors are worked on, and turns what libtorch
// refuses into an error.
func onTensorThread(f func() error) (err error) {
	gotorch.Run(func() {
		if refused := gotorch.Try(func() { err = f() }); refused != nil {
			err = refused
		}
	})
	return err
}
