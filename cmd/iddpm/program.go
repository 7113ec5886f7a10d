package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"

	urfave "github.com/urfave/cli/v2"
	"go.uber.org/zap/zapcore"

	"iddpm/distributed"
	"iddpm/internal/cli"
	"iddpm/internal/host"
	"iddpm/internal/terminal"
	"iddpm/internal/threads"
)

// version is set by the linker.
var version = "unknown"

// program holds the streams and the environment of a command.
type program struct {
	stdout  io.Writer // results
	stderr  io.Writer // logs
	env     cli.Environment
	environ []string // as of os.Environ

	threads threads.Options // of commands that compute on the CPU; tests set a fake machine

	own     cli.Syntax  // of the command, once parsed
	logJSON atomic.Bool // --log-json, once parsed
	quiet   atomic.Bool // another process of the run reports
}

// results writes to standard output and ignores a closed pipe.
type results struct{ out io.Writer }

// Write writes to standard output.
func (r results) Write(p []byte) (int, error) {
	n, err := r.out.Write(p)
	if errors.Is(err, syscall.EPIPE) {
		return len(p), nil
	}
	return n, err
}

// say writes a message that belongs to no command's log, as text or as JSON.
func (p *program) say(level zapcore.Level, text string) {
	if p.logJSON.Load() {
		terminal.NewScreen(p.stderr).Logger(true).Log(level, text)
		return
	}
	fmt.Fprintln(p.stderr, terminal.Printable("iddpm: "+strings.ReplaceAll(text, "\n", "\n  ")))
}

// first reports whether this process reports what all processes of the run see: rank 0,
// unless its launcher has reported it.
func (p *program) first() bool {
	at, err := distributed.FromEnvironment(p.env)
	_, launched := p.env(distributed.MasterSocket)
	return err == nil && at.Rank == 0 && !launched
}

// inContainer reports whether the program runs in a container.
func (p *program) inContainer() bool { return host.InContainer(os.DirFS("/"), p.env) }

// modelPath is improved-diffusion's flag for the checkpoint, here a command's argument.
const modelPath = "model-path"

// argument returns a command's only argument.
func argument(c *urfave.Context, what string) (string, error) {
	args := c.Args().Slice()
	if c.IsSet(modelPath) {
		args = append(args, c.String(modelPath))
	}
	switch len(args) {
	case 0:
		return "", cli.Errorf("name %s, as in: %s %s", what, c.Command.HelpName, what)
	case 1:
		return args[0], nil
	}
	return "", cli.Errorf("name only one %s, not %s", what, strings.Join(args, " "))
}

// noArgument rejects arguments.
func noArgument(c *urfave.Context) error {
	if c.NArg() == 0 {
		return nil
	}
	advice := ""
	if slices.ContainsFunc(c.Command.Flags, func(f urfave.Flag) bool { return slices.Contains(f.Names(), "data-dir") }) {
		advice = " (--data-dir names images)"
	}
	return cli.Errorf("%s accepts only flags, not %s%s", c.Command.HelpName, strings.Join(c.Args().Slice(), " "), advice)
}
