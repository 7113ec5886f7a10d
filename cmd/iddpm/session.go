package main

import (
	"encoding/json"
	"errors"
	"io"

	"github.com/wangkuiyi/gotorch"
	"go.uber.org/zap"

	"iddpm/distributed"
)

// sessionOptions are what all commands that compute have in common.
type sessionOptions struct {
	outputOptions
	device         string
	processes      int
	connectTimeout int // seconds
}

// outputOptions say in what form a command speaks.
type outputOptions struct {
	json    bool
	logJSON bool
}

func (o *outputOptions) options() []option {
	return []option{
		jsonOption(&o.json),
		{name: "log-json", category: categoryRun, value: &o.logJSON, usage: "log in JSON, one event per line"},
	}
}

func defaultSession() sessionOptions {
	return sessionOptions{device: "auto", processes: 1, connectTimeout: 600}
}

func (o *sessionOptions) options() []option {
	return append(o.outputOptions.options(),
		option{name: "device", category: categoryRun, value: &o.device, usage: "run on `DEVICE`: cpu, cuda, cuda:N, or auto: a GPU if there is one"})
}

// session is a command at work.
type session struct {
	device gotorch.Device
	log    *zap.Logger
	screen *screen
	stdout io.Writer
	json   bool
	group  *distributed.Group // the processes that work together with this one; nil: none
	begun  bool               // the others know what is to be trained
}

// newSession begins a command that needs no device. Its result is JSON if asJSON says
// so, and its log if logJSON does.
func (p *program) newSession(asJSON, logJSON bool) *session {
	s := &session{screen: newScreen(p.stderr), stdout: p.stdout, json: asJSON}
	s.log = s.screen.logger(logJSON)
	return s
}

// open begins a command that computes.
func (p *program) open(o sessionOptions) (*session, error) {
	s := p.newSession(o.json, o.logJSON)
	return s, s.use(o.device)
}

// use opens the device of a name.
func (s *session) use(device string) (err error) {
	if s.device, err = openDevice(device, s.log); err == nil {
		s.group.SetThreads(0) // for commands without --threads, too: libtorch's default knows of no quota
	}
	return err
}

// tell says how far a job of n steps is: by the bar, or else, now and then, by a line of
// the log.
func (s *session) tell(at, n int, bar, line string, fields ...zap.Field) {
	s.screen.show(at, n, bar)
	if !s.screen.terminal && s.screen.due.strikes() {
		s.log.Info(line, fields...)
	}
}

// emit prints a command's result: one JSON object, or as text writes it.
func (s *session) emit(result any, text func(io.Writer) error) error {
	if s.json {
		return json.NewEncoder(s.stdout).Encode(result)
	}
	return text(printableWriter{s.stdout})
}

// openDevice returns the device of a name.
func openDevice(name string, log *zap.Logger) (gotorch.Device, error) {
	if err := gotorch.LoadLibrary(); err != nil {
		return gotorch.Device{}, err
	}
	if name == "auto" {
		return automaticDevice(log), nil
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
	return d, gotorch.CheckCUDADevice(d)
}

// automaticDevice returns the first GPU that can be used, or else the CPU. Only a
// machine without a GPU gets the CPU without a warning.
func automaticDevice(log *zap.Logger) gotorch.Device {
	unusable := gotorch.LoadCUDA()
	for i := range gotorch.CUDADeviceCount() {
		d := gotorch.Device{Type: gotorch.CUDA, Index: i}
		err := gotorch.CheckCUDADevice(d)
		if err == nil {
			if unusable != nil {
				log.Warn("GPU passed over", zap.NamedError("reason", unusable), zap.Stringer("device", d))
			}
			return d
		}
		if unusable == nil {
			unusable = err
		}
	}
	say := log.Warn
	if errors.Is(unusable, gotorch.ErrNoGPU) {
		say = log.Info
	} else {
		log = log.With(zap.String("hint", "--device cpu works on the CPU without this warning"))
	}
	say("working on the CPU", zap.NamedError("reason", unusable))
	return gotorch.Device{}
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
