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
	"syscall"

	"github.com/urfave/cli/v2"
	"github.com/wangkuiyi/gotorch"

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
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		fmt.Fprintln(os.Stderr, "\niddpm: stopping; once more to stop at once")
		cancel()
		<-signals
		os.Exit(exitInterrupted)
	}()
	p := program{stdout: os.Stdout, stderr: os.Stderr, env: os.LookupEnv}
	os.Exit(p.run(ctx, os.Args[1:]))
}

// program is what surrounds a command.
type program struct {
	stdout io.Writer // results
	stderr io.Writer // logs
	env    environment
}

// run runs one command and returns the exit status.
func (p *program) run(ctx context.Context, args []string) int {
	err := p.dispatch(ctx, args)
	if exitStatus(err) == exitInterrupted {
		err = fmt.Errorf("interrupted before there was anything to save: %w", err)
	}
	if err != nil {
		fmt.Fprintln(p.stderr, "iddpm: "+strings.ReplaceAll(err.Error(), "\n", "\n  "))
	}
	return exitStatus(err)
}

func (p *program) dispatch(ctx context.Context, args []string) error {
	app := p.app()
	root := syntaxOf(app.Flags, app.Commands)
	line, err := parseArguments(root, args)
	if err != nil {
		return err
	}
	if err := line.addSources(root, p.env); err != nil {
		return err
	}
	return app.RunContext(ctx, append([]string{"iddpm"}, line.arguments()...))
}

func exitStatus(err error) int {
	var usage usageError
	switch {
	case err == nil:
		return exitDone
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
		Usage:           "train diffusion models of images, and draw from them",
		UsageText:       "iddpm COMMAND [FLAGS]\niddpm help COMMAND",
		Description:     appDescription,
		HideVersion:     true,
		HideHelpCommand: true,
		Writer:          p.stdout,
		ErrWriter:       p.stderr,
		ExitErrHandler:  func(*cli.Context, error) {}, // run gives the status
		Flags:           flagsOf(option{name: "version", alias: "v", value: new(bool), usage: "print the version, and libtorch's"}),
		Action:          p.root,
		Commands:        []*cli.Command{p.trainCommand(), p.resumeCommand(), p.sampleCommand(), p.nllCommand(), p.exportCommand(), p.figureCommand(), p.infoCommand(), p.dataCommand(), p.benchCommand()},
	}
}

const appDescription = `Improved DDPM (Nichol & Dhariwal 2021) on libtorch, for GPUs and CPUs.

iddpm train                            learn the built-in emoji; nothing else is needed
iddpm train --data-dir photos          learn your own pictures
iddpm sample runs/001-emoji            draw new ones from what was learnt
iddpm nll runs/001-emoji               measure how likely pictures are, in bits/dim

Flags may be spelled as in improved-diffusion (--num_channels 128, --learn_sigma True),
and be set by variables (IDDPM_NUM_CHANNELS=128) or in the YAML file of --config: a flag
wins over a variable, that over the file, that over a preset.
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
