// Package completion writes the shell completions of a command-line program, for bash,
// zsh and fish, from the definitions of its commands. The scripts are complete: they do
// not run the program. Man writes the man page.
package completion

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v2"
)

// Shells are the supported shells.
var Shells = []string{"bash", "zsh", "fish"}

// command is what a script needs of a command.
type command struct {
	path  []string // without the program's name; empty: the program
	usage string
	flags []flag
	below []command
}

type flag struct {
	name  string // without dashes
	usage string
	value bool // whether a value follows
}

// Write writes the script of a shell, one of Shells.
func Write(w io.Writer, shell string, app *urfave.App) error {
	root := command{usage: app.Usage, flags: flagsOf(app.Flags), below: commandsOf(nil, app.Commands)}
	script := map[string]func(string, command) string{"bash": bash, "zsh": zsh, "fish": fish}[shell]
	if script == nil {
		return fmt.Errorf("no completion for %q: choose %s", shell, strings.Join(Shells, ", "))
	}
	_, err := io.WriteString(w, script(app.Name, root))
	return err
}

func commandsOf(path []string, commands []*urfave.Command) (all []command) {
	for _, c := range commands {
		if c.Hidden {
			continue
		}
		own := append(slices.Clone(path), c.Name)
		all = append(all, command{path: own, usage: c.Usage, flags: flagsOf(c.Flags), below: commandsOf(own, c.Subcommands)})
	}
	return all
}

// flagsOf returns the visible flags, and help.
func flagsOf(flags []urfave.Flag) (all []flag) {
	for _, f := range visible(flags) {
		for _, name := range f.Names() {
			all = append(all, flag{name: name, usage: plain(f.GetUsage()), value: f.TakesValue()})
		}
	}
	if !slices.ContainsFunc(all, func(f flag) bool { return f.name == "help" }) { // a running program has it among its flags
		all = append(all, flag{name: "help", usage: "show help"})
	}
	return all
}

// visible returns the flags that a text shows.
func visible(flags []urfave.Flag) (all []urfave.DocGenerationFlag) {
	for _, f := range flags {
		if v, ok := f.(urfave.VisibleFlag); ok && !v.IsVisible() {
			continue
		}
		if d, ok := f.(urfave.DocGenerationFlag); ok {
			all = append(all, d)
		}
	}
	return all
}

// plain returns a usage without the marks of its placeholder, up to the first stop.
func plain(usage string) string {
	usage = strings.ReplaceAll(usage, "`", "")
	usage, _, _ = strings.Cut(usage, "; ")
	usage, _, _ = strings.Cut(usage, " (")
	return strings.Join(strings.Fields(usage), " ")
}

// dashed returns the flag as it is written.
func (f flag) dashed() string {
	if len(f.name) == 1 {
		return "-" + f.name
	}
	return "--" + f.name
}

// place returns the command's path as /data/info, and "" for the program.
func (c command) place() string {
	if len(c.path) == 0 {
		return ""
	}
	return "/" + strings.Join(c.path, "/")
}

// all returns the command and those below it, outermost first.
func (c command) all() []command {
	list := []command{c}
	for _, b := range c.below {
		list = append(list, b.all()...)
	}
	return list
}

func (c command) names() (names []string) {
	for _, b := range c.below {
		names = append(names, b.path[len(b.path)-1])
	}
	return names
}

func (c command) dashed(valuesOnly bool) (all []string) {
	for _, f := range c.flags {
		if f.value || !valuesOnly {
			all = append(all, f.dashed())
		}
	}
	return all
}

// bash completes commands, flags and, elsewhere, files.
func bash(name string, root command) string {
	var s strings.Builder
	fmt.Fprintf(&s, "# bash completion of %s\n_%s() {\n", name, name)
	s.WriteString("  local cur=\"${COMP_WORDS[COMP_CWORD]}\" prev=\"${COMP_WORDS[COMP_CWORD-1]}\" path=\"\" names flags values word i\n")
	s.WriteString("  COMPREPLY=()\n")
	s.WriteString("  for ((i = 1; i < COMP_CWORD; i++)); do\n    word=\"${COMP_WORDS[i]}\"\n    case \"$path/$word\" in\n")
	for _, c := range root.all()[1:] {
		fmt.Fprintf(&s, "      %s) path=\"%s\" ;;\n", c.place(), c.place())
	}
	s.WriteString("    esac\n  done\n  case \"$path\" in\n")
	for _, c := range root.all() {
		fmt.Fprintf(&s, "    %q) names=%q flags=%q values=%q ;;\n", c.place(), strings.Join(c.names(), " "), strings.Join(c.dashed(false), " "), strings.Join(c.dashed(true), " "))
	}
	s.WriteString("  esac\n")
	s.WriteString("  if [[ \" $values \" == *\" $prev \"* ]]; then\n    COMPREPLY=($(compgen -f -- \"$cur\"))\n")
	s.WriteString("  elif [[ \"$cur\" == -* ]]; then\n    COMPREPLY=($(compgen -W \"$flags\" -- \"$cur\"))\n")
	s.WriteString("  elif [[ -n \"$names\" ]]; then\n    COMPREPLY=($(compgen -W \"$names\" -- \"$cur\"))\n")
	s.WriteString("  else\n    COMPREPLY=($(compgen -f -- \"$cur\"))\n  fi\n}\n")
	fmt.Fprintf(&s, "complete -o filenames -F _%s %s\n", name, name)
	return s.String()
}

// zsh describes commands and flags.
func zsh(name string, root command) string {
	var s strings.Builder
	fmt.Fprintf(&s, "#compdef %s\n", name)
	for _, c := range root.all() {
		fmt.Fprintf(&s, "\n_%s() {\n  local -a commands\n", strings.Join(append([]string{name}, c.path...), "_"))
		if len(c.below) == 0 {
			s.WriteString("  _arguments -s")
			writeZshFlags(&s, c.flags)
			s.WriteString(" \\\n    '*:file:_files'\n}\n")
			continue
		}
		s.WriteString("  commands=(\n")
		for _, b := range c.below {
			fmt.Fprintf(&s, "    %s\n", quoted(b.path[len(b.path)-1]+":"+b.usage))
		}
		s.WriteString("  )\n  _arguments -C")
		writeZshFlags(&s, c.flags)
		s.WriteString(" \\\n    '1: :->command' '*:: :->rest'\n  case $state in\n    command) _describe command commands ;;\n    rest)\n      case $words[1] in\n")
		for _, b := range c.below {
			fmt.Fprintf(&s, "        %s) _%s ;;\n", b.path[len(b.path)-1], strings.Join(append([]string{name}, b.path...), "_"))
		}
		s.WriteString("      esac ;;\n  esac\n}\n")
	}
	// In a folder of fpath the file is the function's body, which runs at the first completion; sourced, it registers the function.
	fmt.Fprintf(&s, "\nif [[ \"${funcstack[1]}\" == _%s ]]; then _%s \"$@\"; else compdef _%s %s; fi\n", name, name, name, name)
	return s.String()
}

// zshSpecial are the characters that have a meaning in _arguments' descriptions.
var zshSpecial = regexp.MustCompile(`[\[\]:\\]`)

func writeZshFlags(s *strings.Builder, flags []flag) {
	for _, f := range flags {
		spec := f.dashed() + "[" + zshSpecial.ReplaceAllString(f.usage, `\$0`) + "]"
		if f.value {
			spec += ":value:_files"
		}
		fmt.Fprintf(s, " \\\n    %s", quoted(spec))
	}
}

// fish describes commands and flags. A function follows the words that have been typed: fish's own
// __fish_seen_subcommand_from would take a folder named data for the command.
func fish(name string, root command) string {
	var s strings.Builder
	fmt.Fprintf(&s, "# fish completion of %s\n", name)
	fmt.Fprintf(&s, "function __%s_at\n  set -l words (commandline -opc)\n  set -e words[1]\n  set -l place ''\n", name)
	s.WriteString("  for word in $words\n    switch $place/$word\n      case")
	for _, c := range root.all()[1:] {
		s.WriteString(" " + c.place())
	}
	s.WriteString("\n        set place $place/$word\n    end\n  end\n  test \"$place\" = \"$argv[1]\"\nend\n")
	for _, c := range root.all() {
		here := quoted("__" + name + "_at " + c.place())
		for _, b := range c.below {
			fmt.Fprintf(&s, "complete -c %s -f -n %s -a %s -d %s\n", name, here, b.path[len(b.path)-1], quoted(b.usage))
		}
		for _, f := range c.flags {
			kind := "-l"
			if len(f.name) == 1 {
				kind = "-s"
			}
			value := ""
			if f.value {
				value = " -r"
			}
			fmt.Fprintf(&s, "complete -c %s -n %s %s %s%s -d %s\n", name, here, kind, f.name, value, quoted(f.usage))
		}
	}
	return s.String()
}

// quoted returns a text in single quotes, for all three shells.
func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }
