package main

import (
	"encoding/json"
	"io"
	"time"

	"github.com/wangkuiyi/gotorch"
	"go.uber.org/zap"

	"iddpm/distributed"
	"iddpm/internal/cli"
	"iddpm/internal/terminal"
	"iddpm/internal/threads"
)

// sessionOptions are the flags of all commands that compute.
type sessionOptions struct {
	outputOptions
	device         string
	processes      int
	connectTimeout int // seconds
}

// outputOptions are the formats of the result and of the log.
type outputOptions struct {
	json    bool
	logJSON bool
}

func (o *outputOptions) options() []cli.Option {
	return []cli.Option{
		cli.JSONOption(&o.json),
		{Name: "log-json", Category: cli.CategoryRun, Value: &o.logJSON, Usage: "log in JSON, one event per line"},
	}
}

func defaultSession() sessionOptions {
	return sessionOptions{device: "auto", processes: 1, connectTimeout: 600}
}

func (o *sessionOptions) options() []cli.Option {
	return append(o.outputOptions.options(),
		cli.Option{Name: "device", Category: cli.CategoryRun, Value: &o.device, Usage: "run on `DEVICE`: cpu, cuda, cuda:N, or auto: a GPU if there is one"})
}

// session is a running command: its device, its output and its process group.
type session struct {
	device        gotorch.Device
	log           *zap.Logger
	screen        *terminal.Screen
	stdout        io.Writer
	json          bool
	container     bool               // the program runs in a container
	group         *distributed.Group // data-parallel processes; nil: only this one
	configured    bool               // the other processes have the configuration
	threads       *threads.Adapter   // of the CPU; nil: fixed number
	threadOptions threads.Options

	stepTimeout time.Duration // of training
	servers     *trainServers // beside training
}

// newSession starts a command that needs no device. Its result is JSON if asJSON is set,
// its log if logJSON is set.
func (p *program) newSession(asJSON, logJSON bool) *session {
	s := &session{screen: terminal.NewScreen(p.stderr), stdout: p.stdout, json: asJSON, container: p.inContainer(), threadOptions: p.threads}
	s.log = s.screen.Logger(logJSON)
	return s
}

// open starts a command that computes.
func (p *program) open(o sessionOptions) (*session, error) {
	s := p.newSession(o.json, o.logJSON)
	return s, s.use(o.device)
}

// use opens the device of a name.
func (s *session) use(device string) (err error) {
	if s.device, err = s.devices().find(device); err == nil {
		s.setThreads(0) // for commands without --threads, too: libtorch's default ignores CPU quotas
	}
	return err
}

func (s *session) devices() deviceFinder { return deviceFinder{s.log, s.container} }

// setThreads sets the number of CPU threads, or for 0 adapts it to the cores that other
// programs leave free.
func (s *session) setThreads(n int) {
	configure(func(o *gotorch.Settings) { o.Threads = s.group.Threads(n) })
	if s.device.Type == gotorch.CPU && (s.threads == nil || n > 0) {
		o := s.threadOptions
		o.Fixed, o.Log = threads.Chosen(n), s.log
		s.threads = threads.NewAdapter(o)
	}
}

// reportProgress shows the progress of a job of n steps: by the bar, or without a terminal
// by a log line at intervals.
func (s *session) reportProgress(at, n int, bar, line string, fields ...zap.Field) {
	s.screen.Show(at, n, bar)
	if s.screen.LineDue() {
		s.log.Info(line, fields...)
	}
}

// emit prints a command's result: one JSON object, or as text writes it.
func (s *session) emit(result any, text func(io.Writer) error) error {
	if s.json {
		return json.NewEncoder(s.stdout).Encode(result)
	}
	return text(terminal.PrintableWriter{Writer: s.stdout})
}

// onTensorThread runs f on the tensor thread and returns a panic of libtorch as an error.
func onTensorThread(f func() error) (err error) {
	gotorch.Run(func() {
		if refused := gotorch.Try(func() { err = f() }); refused != nil {
			err = refused
		}
	})
	return err
}
