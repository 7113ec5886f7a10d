package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"
	"github.com/xrash/smetrics"
)

// urfave stops at the first positional argument, reads the True of "--flag True" as a
// positional argument, and rejects a flag given under two names. improved-diffusion's
// command lines do all three, so this parser normalises arguments for urfave.

// usageError is incorrect usage: exit status 2.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func wrongUse(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// syntax holds the flags and subcommands of a command.
type syntax struct {
	flags    map[string]flagSyntax // by name and alias
	commands map[string]syntax
}

type flagSyntax struct {
	name       string // without aliases
	boolean    bool
	positional bool               // its value is the command's argument
	path       bool               // a file or folder: must not be empty
	variable   string             // environment variable, if ours is not set
	check      func(string) error // returns what is wrong with a value
}

// commandLine is a parsed command line.
type commandLine struct {
	command    []string    // such as "bench", "train"
	flags      []flagValue // the last one of a name counts
	positional []string
	help       bool
}

type flagValue struct{ name, value string }

// arguments returns the arguments for urfave, without the program's name.
func (l commandLine) arguments() []string {
	args := append([]string(nil), l.command...)
	if l.help {
		return append(args, "--help")
	}
	for _, f := range l.flags {
		args = append(args, "--"+f.name+"="+f.value)
	}
	if len(l.positional) > 0 {
		args = append(append(args, "--"), l.positional...)
	}
	return args
}

// last returns the last value of a flag, the one that counts; "" if there is none.
func (l commandLine) last(name string) (value string) {
	for _, f := range l.flags {
		if f.name == name {
			value = f.value
		}
	}
	return value
}

// parseArguments splits arguments into the command, its flags by name with dashes, and
// positional arguments. Every error is a usageError.
func parseArguments(root syntax, args []string) (commandLine, error) {
	p := parser{syntax: root}
	if len(args) > 0 && args[0] == "help" {
		p.line.help = true
		args = args[1:]
	}
	for len(args) > 0 {
		var err error
		if args, err = p.next(args); err != nil {
			return commandLine{}, err
		}
	}
	return p.line, nil
}

type parser struct {
	syntax syntax
	line   commandLine
}

// next parses one argument, or a flag and its value, and returns the remaining ones.
func (p *parser) next(args []string) ([]string, error) {
	arg, rest := args[0], args[1:]
	switch {
	case arg == "--":
		p.line.positional = append(p.line.positional, rest...)
		return nil, nil
	case looksLikeFlag(arg):
		return p.flag(arg, rest)
	case len(p.syntax.commands) > 0:
		return rest, p.descend(arg)
	case strings.TrimSpace(arg) == "":
		return nil, wrongUse("an argument is empty, where a path is expected: is a variable of the shell unset?")
	}
	p.line.positional = append(p.line.positional, arg)
	return rest, nil
}

func (p *parser) descend(name string) error {
	sub, ok := p.syntax.commands[name]
	if !ok {
		return wrongUse("unknown command %s%s (commands: %s)", name, suggest(name, "", p.syntax.commands),
			strings.Join(slices.Sorted(maps.Keys(p.syntax.commands)), ", "))
	}
	p.syntax = sub
	p.line.command = append(p.line.command, name)
	return nil
}

// looksLikeFlag reports whether an argument is a flag. Negative numbers and "-", a
// standard stream, are not.
func looksLikeFlag(arg string) bool {
	if len(arg) < 2 || arg[0] != '-' {
		return false
	}
	_, err := strconv.ParseFloat(arg, 64)
	return err != nil
}

func (p *parser) flag(arg string, rest []string) ([]string, error) {
	spelled, value, joined := strings.Cut(arg, "=")
	name := strings.ReplaceAll(strings.TrimPrefix(spelled[1:], "-"), "_", "-")
	if name == "h" || name == "help" {
		p.line.help = true
		return rest, nil
	}
	f, ok := p.syntax.flags[name]
	if !ok {
		return nil, wrongUse("unknown flag %s%s (see iddpm help %s)",
			spelled, suggest(name, "--", p.syntax.flags), strings.Join(p.line.command, " "))
	}
	if !joined {
		var err error
		if value, rest, err = f.take(arg, rest); err != nil {
			return nil, err
		}
	}
	return rest, p.add(f, value)
}

// take returns a flag's value from the arguments that follow it. A boolean flag needs
// none, but accepts a word such as True.
func (f flagSyntax) take(arg string, rest []string) (value string, left []string, err error) {
	if f.boolean {
		if len(rest) > 0 {
			if _, err := parseBool(rest[0]); err == nil {
				return rest[0], rest[1:], nil
			}
		}
		return "true", rest, nil
	}
	if len(rest) == 0 {
		return "", nil, wrongUse("%s needs a value", arg)
	}
	if looksLikeFlag(rest[0]) {
		return "", nil, wrongUse("%s needs a value, but %s follows (write %s=%s if that is the value)", arg, rest[0], arg, rest[0])
	}
	return rest[0], rest[1:], nil
}

func (p *parser) add(f flagSyntax, value string) error {
	if f.path && strings.TrimSpace(value) == "" {
		return wrongUse("--%s is empty: name a path, or leave the flag out (is a variable of the shell unset?)", f.name)
	}
	if f.positional {
		p.line.positional = append(p.line.positional, value)
		return nil
	}
	v, err := f.value("--"+f.name, value)
	p.line.flags = append(p.line.flags, v)
	return err
}

// value checks a value that comes from origin and normalises booleans for urfave.
func (f flagSyntax) value(origin, text string) (flagValue, error) {
	if err := f.check(text); err != nil {
		return flagValue{}, wrongUse("%s: %w", origin, err)
	}
	if f.boolean {
		on, _ := parseBool(text)
		text = strconv.FormatBool(on)
	}
	return flagValue{f.name, text}, nil
}

// suggest returns ": did you mean PREFIXname?" for the known name nearest to a misspelled
// one, or "" if none is near.
func suggest[T any](name, prefix string, known map[string]T) string {
	best, fewest := "", (len(name)+2)/3+1
	for _, k := range slices.Sorted(maps.Keys(known)) {
		edits := smetrics.WagnerFischer(name, k, 1, 1, 1)
		if len(name) >= 4 && strings.Contains(k, name) {
			edits = min(edits, 2)
		}
		if edits < fewest {
			best, fewest = k, edits
		}
	}
	if best == "" {
		return ""
	}
	return ": did you mean " + prefix + best + "?"
}

// parseBool accepts the words that improved-diffusion accepts, and on and off.
func parseBool(text string) (bool, error) {
	switch strings.ToLower(text) {
	case "true", "yes", "t", "y", "1", "on":
		return true, nil
	case "false", "no", "f", "n", "0", "off":
		return false, nil
	}
	return false, fmt.Errorf("%q is neither true nor false", text)
}

// syntaxOf describes a command to the parser.
func syntaxOf(flags []cli.Flag, commands []*cli.Command) syntax {
	s := syntax{flags: map[string]flagSyntax{}, commands: map[string]syntax{}}
	for _, f := range flags {
		if f, ok := f.(*optionFlag); ok {
			for _, name := range f.Names() {
				s.flags[name] = f.syntax()
			}
		}
	}
	for _, c := range commands {
		s.commands[c.Name] = syntaxOf(c.Flags, c.Subcommands)
	}
	return s
}
