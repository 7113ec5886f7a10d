// Command iddpm trains, samples and evaluates the diffusion models of Improved
// Denoising Diffusion Probabilistic Models (Nichol & Dhariwal 2021).
//
// internal/cli parses the command line, the environment and --config. Each command has its
// own file.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	urfave "github.com/urfave/cli/v2"
	"github.com/wangkuiyi/gotorch"
	"go.uber.org/zap/zapcore"

	"iddpm/distributed"
	"iddpm/internal/cli"
)

func main() {
	// A closed pipe, such as `| head`, must not end hours of work.
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

// handleSignals cancels at the first signal and exits at the second. It ignores repeated
// hangups, since a closing terminal sends several. With several processes it also ignores
// a repeat within sameSignal: the launcher forwards a signal that all processes receive.
func (p *program) handleSignals(signals <-chan os.Signal, cancel context.CancelFunc) {
	<-signals
	first := time.Now()
	at, _ := distributed.FromEnvironment(p.env)
	if !p.quiet.Load() {
		p.say(zapcore.InfoLevel, "stopping; signal again to exit immediately")
	}
	cancel()
	for s := range signals {
		if s != syscall.SIGHUP && !(at.WorldSize > 1 && time.Since(first) < sameSignal) {
			os.Exit(exitInterrupted)
		}
	}
}

// sameSignal is the time within which a repeated signal counts as the same one.
const sameSignal = 2 * time.Second

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

func (p *program) dispatch(ctx context.Context, args []string) error {
	app := p.app()
	root := cli.SyntaxOf(app.Flags, app.Commands)
	line, err := cli.Parse(root, args)
	if err != nil {
		return err
	}
	p.own = root.Of(line.Command)
	err = line.AddSources(root, p.env)
	p.logJSON.Store(line.Last("log-json") == "true")
	if err != nil {
		return err
	}
	if len(line.Command) > 0 && !line.Help && p.first() {
		for _, unknown := range cli.UnknownVariables(root, p.environ) {
			p.say(zapcore.WarnLevel, unknown)
		}
	}
	if !line.Help && len(line.Command) > 0 {
		if err := checkWorkingFolder(); err != nil {
			return err
		}
	}
	return app.RunContext(ctx, append([]string{"iddpm"}, line.Arguments()...))
}

// checkWorkingFolder rejects a deleted working folder: relative paths fail there, and
// libtorch's MKL exits without an error message.
func checkWorkingFolder() error {
	if _, err := os.Getwd(); errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("the working folder has been deleted: change to one that exists, as by cd (%w)", err)
	}
	return nil
}

func (p *program) app() *urfave.App {
	return &urfave.App{
		Name:            "iddpm",
		Usage:           "train, sample and evaluate diffusion models of images",
		UsageText:       "iddpm COMMAND [FLAGS]\niddpm help COMMAND",
		Description:     appDescription,
		HideVersion:     true,
		HideHelpCommand: true,
		Writer:          p.stdout,
		ErrWriter:       p.stderr,
		ExitErrHandler:  func(*urfave.Context, error) {}, // run gives the status
		Flags:           cli.FlagsOf(cli.Option{Name: "version", Alias: "v", Value: new(bool), Usage: "print the versions of iddpm and libtorch"}),
		Action:          p.root,
		Commands:        []*urfave.Command{p.trainCommand(), p.resumeCommand(), p.sampleCommand(), p.nllCommand(), p.evaluateCommand(), p.exportCommand(), p.emaCommand(), p.figureCommand(), p.infoCommand(), p.watchCommand(), p.dataCommand(), p.benchCommand(), p.doctorCommand(), p.versionCommand(), p.completionCommand()},
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

// root runs if the command line names no command.
func (p *program) root(c *urfave.Context) error {
	if c.String("version") == "true" {
		fmt.Fprintf(p.stdout, "iddpm %s (libtorch %s)\n", version, gotorch.Version)
		return nil
	}
	return urfave.ShowAppHelp(c)
}
