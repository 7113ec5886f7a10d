package cli

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	urfave "github.com/urfave/cli/v2"
	"github.com/xrash/smetrics"
)

// urfave stops at the first positional argument, reads the True of "--flag True" as a
// positional argument, and rejects a flag given under two names. improved-diffusion's
// command lines do all three, so this parser normalises arguments for urfave.

// usageError is incorrect usage: exit status 2.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// Usage marks an error as incorrect usage; nil stays nil.
func Usage(err error) error {
	if err == nil {
		return nil
	}
	return usageError{err}
}

// IsUsage reports whether an error is incorrect usage.
func IsUsage(err error) bool {
	var u usageError
	return errors.As(err, &u)
}

// Errorf returns an error of incorrect usage.
func Errorf(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// Syntax holds the flags and subcommands of a command.
type Syntax struct {
	Flags    map[string]Flag // by name and alias
	Commands map[string]Syntax
}

// Flag is what the parser knows of a flag.
type Flag struct {
	Name       string // without aliases
	boolean    bool
	positional bool               // its value is the command's argument
	Path       bool               // a file or folder: must not be empty
	variable   string             // environment variable, if ours is not set
	Check      func(string) error // returns what is wrong with a value
}

// Line is a parsed command line.
type Line struct {
	Command    []string    // such as "bench", "train"
	Flags      []FlagValue // the last one of a name counts
	positional []string
	Help       bool
}

// FlagValue is a flag by its name and the text of its value.
type FlagValue struct{ Name, Value string }

// Arguments returns the arguments for urfave, without the program's name.
func (l Line) Arguments() []string {
	args := append([]string(nil), l.Command...)
	if l.Help {
		return append(args, "--help")
	}
	for _, f := range l.Flags {
		args = append(args, "--"+f.Name+"="+f.Value)
	}
	if len(l.positional) > 0 {
		args = append(append(args, "--"), l.positional...)
	}
	return args
}

// Last returns the last value of a flag, the one that counts; "" if there is none.
func (l Line) Last(name string) (value string) {
	for _, f := range l.Flags {
		if f.Name == name {
			value = f.Value
		}
	}
	return value
}

// Parse splits arguments into the command, its flags by name with dashes, and
// positional arguments. Every error is a usageError.
func Parse(root Syntax, args []string) (Line, error) {
	p := parser{syntax: root}
	if len(args) > 0 && args[0] == "help" {
		p.line.Help = true
		args = args[1:]
	}
	for len(args) > 0 {
		var err error
		if args, err = p.next(args); err != nil {
			return Line{}, err
		}
	}
	return p.line, nil
}

type parser struct {
	syntax Syntax
	line   Line
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
	case len(p.syntax.Commands) > 0:
		return rest, p.descend(arg)
	case strings.TrimSpace(arg) == "":
		return nil, Errorf("an argument is empty, where a path is expected: is a variable of the shell unset?")
	}
	p.line.positional = append(p.line.positional, arg)
	return rest, nil
}

func (p *parser) descend(name string) error {
	sub, ok := p.syntax.Commands[name]
	if !ok {
		return Errorf("unknown command %s%s (commands: %s)", name, Suggest(name, "", p.syntax.Commands),
			strings.Join(slices.Sorted(maps.Keys(p.syntax.Commands)), ", "))
	}
	p.syntax = sub
	p.line.Command = append(p.line.Command, name)
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
		p.line.Help = true
		return rest, nil
	}
	f, ok := p.syntax.Flags[name]
	if !ok {
		return nil, Errorf("unknown flag %s%s (see iddpm help %s)",
			spelled, Suggest(name, "--", p.syntax.Flags), strings.Join(p.line.Command, " "))
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
func (f Flag) take(arg string, rest []string) (value string, left []string, err error) {
	if f.boolean {
		if len(rest) > 0 {
			if _, err := parseBool(rest[0]); err == nil {
				return rest[0], rest[1:], nil
			}
		}
		return "true", rest, nil
	}
	if len(rest) == 0 {
		return "", nil, Errorf("%s needs a value", arg)
	}
	if looksLikeFlag(rest[0]) {
		return "", nil, Errorf("%s needs a value, but %s follows (write %s=%s if that is the value)", arg, rest[0], arg, rest[0])
	}
	return rest[0], rest[1:], nil
}

func (p *parser) add(f Flag, value string) error {
	if f.Path && strings.TrimSpace(value) == "" {
		return Errorf("--%s is empty: name a path, or leave the flag out (is a variable of the shell unset?)", f.Name)
	}
	v, err := f.value("--"+f.Name, value)
	p.line.Flags = append(p.line.Flags, v)
	return err
}

// value checks a value that comes from origin and normalises booleans for urfave.
func (f Flag) value(origin, text string) (FlagValue, error) {
	if err := f.Check(text); err != nil {
		return FlagValue{}, Errorf("%s: %w", origin, err)
	}
	if f.boolean {
		on, _ := parseBool(text)
		text = strconv.FormatBool(on)
	}
	return FlagValue{f.Name, text}, nil
}

// Suggest returns ": did you mean PREFIXname?" for the known name nearest to a misspelled
// one, or "" if none is near.
func Suggest[T any](name, prefix string, known map[string]T) string {
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

// SyntaxOf describes a command to the parser.
func SyntaxOf(flags []urfave.Flag, commands []*urfave.Command) Syntax {
	s := Syntax{Flags: map[string]Flag{}, Commands: map[string]Syntax{}}
	for _, f := range flags {
		if f, ok := f.(*optionFlag); ok {
			for _, name := range f.Names() {
				s.Flags[name] = f.syntax()
			}
		}
	}
	for _, c := range commands {
		s.Commands[c.Name] = SyntaxOf(c.Flags, c.Subcommands)
	}
	return s
}
