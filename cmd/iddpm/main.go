// Command iddpm trains the diffusion models of Improved Denoising Diffusion
// Probabilistic Models (Nichol & Dhariwal 2021) and draws samples from them.
//
// A command line goes through args.go, which puts it in order, and sources.go,
// which adds what the environment and --config say; settings.go lists the flags
// of a configuration. The commands have a file each.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"
	"github.com/wangkuiyi/gotorch"
	"go.uber.org/zap/zapcore"

	"iddpm/distributed"
	"iddpm/internal/threads"
	"iddpm/train"
)

// version is set by the linker.
var version = "unknown"

// The exit statuses.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitSaved       = 75  // interrupted; what was done is saved (EX_TEMPFAIL: try again)
	exitInterrupted = 130 // interrupted; nothing is saved
)

func main() {
	// The reader of the log or of the results may go, as `| head` does: that is no
	// reason to end hours of work.
	signal.Ignore(syscall.SIGPIPE)
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // as it is under nohup
		signal.Notify(signals, syscall.SIGHUP)
	}
	p := program{stdout: results{os.Stdout}, stderr: os.Stderr, env: os.LookupEnv, environ: os.Environ()}
	go p.handleSignals(signals, cancel)
	os.Exit(p.run(ctx, os.Args[1:]))
}

// handleSignals cancels at the first signal, and ends the program at the second. A
// terminal that goes may hang up more than once, without meaning anything by it; and
// one of several processes gets the same signal from its launcher and from whoever
// signals all of them.
func (p *program) handleSignals(signals <-chan os.Signal, cancel context.CancelFunc) {
	<-signals
	first := time.Now()
	at, _ := distributed.FromEnvironment(p.env)
	if !p.quiet.Load() {
		p.say(zapcore.InfoLevel, "stopping; once more to stop at once")
	}
	cancel()
	for s := range signals {
		if s != syscall.SIGHUP && !(at.WorldSize > 1 && time.Since(first) < sameSignal) {
			os.Exit(exitInterrupted)
		}
	}
}

// sameSignal is how long after a signal another one may still mean the same.
const sameSignal = 2 * time.Second

// results is standard output; what nobody reads any more is dropped.
type results struct{ out io.Writer }

// Write writes to standard output.
func (r results) Write(p []byte) (int, error) {
	n, err := r.out.Write(p)
	if errors.Is(err, syscall.EPIPE) {
		return len(p), nil
	}
	return n, err
}

// program is what surrounds a command.
type program struct {
	stdout  io.Writer // results
	stderr  io.Writer // logs
	env     environment
	environ []string // all of it, as of os.Environ

	threads threads.Options // of all commands that compute on the CPU; tests have a machine made up

	own     syntax      // of the command that runs, once it is read
	logJSON atomic.Bool // as the command line says, once it is read
	quiet   atomic.Bool // another process of the run says what there is to say
}

// run runs one command and returns the exit status.
func (p *program) run(ctx context.Context, args []string) int {
	err := p.dispatch(ctx, args)
	status := exitStatus(err)
	if p.quiet.Load() && saidElsewhere(err) {
		return status
	}
	switch status {
	case exitDone:
	case exitInterrupted:
		p.say(zapcore.WarnLevel, "interrupted before there was anything to save"+causes(": ", err))
	case exitSaved:
		p.say(zapcore.WarnLevel, causes("", err))
	default:
		p.say(zapcore.ErrorLevel, withAdvice(err, p.inContainer(), p.own).Error())
	}
	return status
}

// saidElsewhere reports whether every process ends in this way, or because of another
// one, so that the first one, or the launcher, says it.
func saidElsewhere(err error) bool {
	var launched launchedError
	var synced *distributed.Error
	status := exitStatus(err)
	return errors.As(err, &launched) || errors.As(err, &synced) && synced.Elsewhere() || status == exitSaved || status == exitInterrupted
}

// causes returns the text of an interrupt's error without its context's, which
// says the same once more; what is left, if anything, follows the prefix.
func causes(prefix string, err error) string {
	var left []string
	for line := range strings.SplitSeq(err.Error(), "\n") {
		if line = strings.TrimSuffix(strings.TrimSuffix(line, context.Canceled.Error()), ": "); line != "" {
			left = append(left, line)
		}
	}
	if len(left) == 0 {
		return ""
	}
	return prefix + strings.Join(left, "\n")
}

// say writes the program's own words, beside those of a command's log: for
// people, or in JSON.
func (p *program) say(level zapcore.Level, text string) {
	if p.logJSON.Load() {
		newScreen(p.stderr).logger(true).Log(level, text)
		return
	}
	fmt.Fprintln(p.stderr, printable("iddpm: "+strings.ReplaceAll(text, "\n", "\n  ")))
}

// first reports whether no other process of the run says what all of them see.
func (p *program) first() bool {
	at, err := distributed.FromEnvironment(p.env)
	_, launched := p.env(distributed.MasterSocket) // by a process that has said it
	return err == nil && at.Rank == 0 && !launched
}

// inContainer reports whether the program runs in a container.
func (p *program) inContainer() bool { return inContainer(os.DirFS("/"), p.env) }

func (p *program) dispatch(ctx context.Context, args []string) error {
	app := p.app()
	root := syntaxOf(app.Flags, app.Commands)
	line, err := parseArguments(root, args)
	if err != nil {
		return err
	}
	p.own = root.of(line.command)
	err = line.addSources(root, p.env)
	p.logJSON.Store(line.last("log-json") == "true")
	if err != nil {
		return err
	}
	if len(line.command) > 0 && !line.help && p.first() {
		for _, unknown := range unknownVariables(root, p.environ) {
			p.say(zapcore.WarnLevel, unknown)
		}
	}
	if !line.help && len(line.command) > 0 {
		if err := checkWorkingFolder(); err != nil {
			return err
		}
	}
	return app.RunContext(ctx, append([]string{"iddpm"}, line.arguments()...))
}

// checkWorkingFolder refuses to work from a folder that has been deleted: paths mean
// nothing there, and libtorch's MKL ends the process without a word of why.
func checkWorkingFolder() error {
	if _, err := os.Getwd(); errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("the working folder has been deleted: change to one that exists, as by cd (%w)", err)
	}
	return nil
}

func exitStatus(err error) int {
	var usage usageError
	var launched launchedError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &launched):
		return launched.status
	case errors.As(err, &usage):
		return exitUsage
	case errors.Is(err, train.ErrInterrupted), errors.Is(err, errSavedInPart):
		return exitSaved
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	}
	return exitFailed
}

func (p *program) app() *cli.App {
	return &cli.App{
		Name:            "iddpm",
		Usage:           "train, sample and evaluate diffusion models of images",
		UsageText:       "iddpm COMMAND [FLAGS]\niddpm help COMMAND",
		Description:     appDescription,
		HideVersion:     true,
		HideHelpCommand: true,
		Writer:          p.stdout,
		ErrWriter:       p.stderr,
		ExitErrHandler:  func(*cli.Context, error) {}, // run gives the status
		Flags:           flagsOf(option{name: "version", alias: "v", value: new(bool), usage: "print the versions of iddpm and libtorch"}),
		Action:          p.root,
		Commands:        []*cli.Command{p.trainCommand(), p.resumeCommand(), p.sampleCommand(), p.nllCommand(), p.evaluateCommand(), p.exportCommand(), p.figureCommand(), p.infoCommand(), p.dataCommand(), p.benchCommand()},
	}
}

const appDescription = `Improved DDPM (Nichol & Dhariwal 2021) on libtorch, for GPUs and CPUs.

iddpm train                            train on the built-in emoji; needs nothing else
iddpm train --data-dir photos          train on your own images
iddpm sample runs/001-emoji            generate samples from the trained model
iddpm nll runs/001-emoji               compute the negative log-likelihood in bits/dim
iddpm evaluate SAMPLES --ref photos    compute FID and related metrics

Flags may be spelled as in improved-diffusion (--num_channels 128, --learn_sigma True).
Precedence: flag, environment variable (IDDPM_NUM_CHANNELS=128), YAML file (--config), preset.
Exit status: 0 done, 1 failed, 2 wrong usage, 75 interrupted but saved, 130 interrupted.`

// root runs where no command is named.
func (p *program) root(c *cli.Context) error {
	if c.String("version") == "true" {
		fmt.Fprintf(p.stdout, "iddpm %s (libtorch %s)\n", version, gotorch.Version)
		return nil
	}
	return cli.ShowAppHelp(c)
}

// argument returns a command's only argument.
func argument(c *cli.Context, what string) (string, error) {
	switch c.NArg() {
	case 0:
		return "", wrongUse("name %s, as in: %s %s", what, c.Command.HelpName, what)
	case 1:
		return c.Args().First(), nil
	}
	return "", wrongUse("one %s is enough: %s", what, strings.Join(c.Args().Slice(), " "))
}

// noArgument refuses arguments.
func noArgument(c *cli.Context) error {
	if c.NArg() > 0 {
		return wrongUse("%s takes flags alone, not %s", c.Command.HelpName, strings.Join(c.Args().Slice(), " "))
	}
	return nil
}
