package completion

import (
	"fmt"
	"io"
	"strings"

	urfave "github.com/urfave/cli/v2"
)

// Man writes the man page of a program, in section 1: every command with its flags.
// urfave's own page leaves out the descriptions of commands, with their examples, and the
// names of values.
func Man(w io.Writer, app *urfave.App, version string) error {
	var s strings.Builder
	fmt.Fprintf(&s, ".TH %s 1 \"\" %s\n", roff(strings.ToUpper(app.Name)), manWord(app.Name+" "+version))
	fmt.Fprintf(&s, ".SH NAME\n%s \\- %s\n.SH SYNOPSIS\n", roff(app.Name), roff(app.Usage))
	manLines(&s, app.UsageText)
	s.WriteString(".SH DESCRIPTION\n")
	manLines(&s, app.Description)
	s.WriteString(".SH OPTIONS\n")
	manFlags(&s, app.Flags)
	manCommands(&s, app.Name, app.Commands)
	_, err := io.WriteString(w, s.String())
	return err
}

func manCommands(s *strings.Builder, parent string, commands []*urfave.Command) {
	for _, c := range commands {
		if c.Hidden {
			continue
		}
		name := parent + " " + c.Name
		fmt.Fprintf(s, ".SH %s\n%s\n", manWord(strings.ToUpper(name)), roff(c.Usage))
		manParagraph(s, c.UsageText)
		manParagraph(s, c.Description)
		manFlags(s, c.Flags)
		manCommands(s, name, c.Subcommands)
	}
}

// manParagraph writes the lines of a text below others, unless it is empty.
func manParagraph(s *strings.Builder, text string) {
	if strings.TrimSpace(text) != "" {
		s.WriteString(".PP\n")
		manLines(s, text)
	}
}

// manLines writes a text whose lines stay as they are.
func manLines(s *strings.Builder, text string) {
	s.WriteString(".nf\n")
	for line := range strings.SplitSeq(strings.TrimSpace(text), "\n") {
		s.WriteString(roff(line) + "\n")
	}
	s.WriteString(".fi\n")
}

func manFlags(s *strings.Builder, flags []urfave.Flag) {
	for _, f := range visible(flags) {
		var names []string
		for _, name := range f.Names() {
			names = append(names, roff(flag{name: name}.dashed()))
		}
		value, usage := "", f.GetUsage()
		if before, rest, found := strings.Cut(usage, "`"); found {
			placeholder, after, _ := strings.Cut(rest, "`")
			value, usage = " "+placeholder, before+placeholder+after
		}
		if text := f.GetDefaultText(); text != "" && f.TakesValue() {
			usage += " (default: " + text + ")"
		}
		fmt.Fprintf(s, ".TP\n\\fB%s\\fR%s\n%s\n", strings.Join(names, ", "), roff(value), roff(usage))
	}
}

// roff escapes a line of text.
func roff(line string) string {
	line = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`).Replace(line)
	if strings.HasPrefix(line, ".") {
		line = `\&` + line
	}
	return line
}

// manWord returns an argument of a macro.
func manWord(text string) string { return `"` + strings.ReplaceAll(roff(text), `"`, `\(dq`) + `"` }
