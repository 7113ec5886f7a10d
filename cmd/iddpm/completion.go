package main

import (
	"strings"

	urfave "github.com/urfave/cli/v2"

	"iddpm/internal/cli"
	"iddpm/internal/completion"
)

// manual names the man page among the shells of completion.
const manual = "man"

func (p *program) completionCommand() *urfave.Command {
	return &urfave.Command{
		Name:      "completion",
		Usage:     "print the completion script of a shell, or the man page",
		UsageText: "iddpm completion " + strings.Join(completion.Shells, "|") + "|" + manual,
		Description: `Prints a script that completes commands, flags and files, made from their definitions. An install
by pip or install.sh has put them where the shells look.

Examples:
  source <(iddpm completion bash)
  iddpm completion fish > ~/.config/fish/completions/iddpm.fish
  iddpm completion man | man -l -`,
		HideHelpCommand: true,
		Action: func(c *urfave.Context) error {
			what, err := argument(c, "SHELL")
			if err != nil {
				return err
			}
			if what == manual {
				return completion.Man(p.stdout, c.App, version)
			}
			return cli.Usage(completion.Write(p.stdout, what, c.App))
		},
	}
}
