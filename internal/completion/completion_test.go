package completion

import (
	"bytes"
	"os/exec"
	"slices"
	"strings"
	"testing"

	urfave "github.com/urfave/cli/v2"
)

func app() *urfave.App {
	return &urfave.App{
		Name:  "tool",
		Flags: []urfave.Flag{&urfave.BoolFlag{Name: "version", Aliases: []string{"v"}, Usage: "print the version"}},
		Commands: []*urfave.Command{
			{Name: "train", Usage: "train it", Flags: []urfave.Flag{
				&urfave.StringFlag{Name: "data-dir", Usage: "the user's `DIR` [of images]: any; more"},
				&urfave.BoolFlag{Name: "fast", Usage: "it's fast"}, &urfave.StringFlag{Name: "secret", Hidden: true},
			}},
			{Name: "data", Usage: "look at data", Subcommands: []*urfave.Command{{Name: "info", Usage: "say what it is", Flags: []urfave.Flag{&urfave.StringFlag{Name: "sheet"}}}, {Name: "pack"}}},
			{Name: "hidden", Hidden: true},
		},
	}
}

func script(t *testing.T, shell string) string {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, shell, app()); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "secret") || strings.Contains(b.String(), "hidden") || strings.Contains(b.String(), "`") {
		t.Errorf("%s", b.String())
	}
	return b.String()
}

// TestBash runs the script in bash.
func TestBash(t *testing.T) {
	for line, want := range map[string]string{
		"tool ":                               "train data",
		"tool t":                              "train",
		"tool --":                             "--version --help",
		"tool train --":                       "--data-dir --fast --help",
		"tool train --d":                      "--data-dir",
		"tool data ":                          "info pack",
		"tool data info --s":                  "--sheet",
		"tool train --fast completion_te":     "completion_test.go",
		"tool train --data-dir completion_te": "completion_test.go",
		"tool data info data --sh":            "--sheet",
	} {
		words := strings.Split(line, " ")
		command := script(t, "bash") + "COMP_WORDS=(" + strings.Join(words[:len(words)-1], " ") + " '" + words[len(words)-1] + "'); COMP_CWORD=$((${#COMP_WORDS[@]}-1)); _tool; echo \"${COMPREPLY[@]}\""
		out, err := exec.Command("bash", "-c", command).CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != want {
			t.Errorf("%q: %q, want %q (%v)", line, got, want, err)
		}
	}
}

// TestOthers checks the lines of zsh and fish, and their syntax where they are installed.
func TestOthers(t *testing.T) {
	for shell, lines := range map[string][]string{
		"zsh":  {"#compdef tool", "'train:train it'", `'--data-dir[the user'\''s DIR \[of images\]\: any]:value:_files'`, `'--fast[it'\''s fast]'`, "data) _tool_data ;;", "_tool_data_info() {"},
		"fish": {"complete -c tool -f -n '__fish_use_subcommand' -a train -d 'train it'", "complete -c tool -n '__fish_seen_subcommand_from data; and __fish_seen_subcommand_from info' -l sheet -r -d ''", "-s v -d 'print the version'", "not __fish_seen_subcommand_from info pack"},
	} {
		text := script(t, shell)
		for _, line := range lines {
			if !strings.Contains(text, line) {
				t.Errorf("%s lacks %s:\n%s", shell, line, text)
			}
		}
		if _, err := exec.LookPath(shell); err == nil {
			if out, err := exec.Command(shell, "-n", "-c", text).CombinedOutput(); err != nil {
				t.Errorf("%s: %s", shell, out)
			}
		}
	}
	if err := Write(&bytes.Buffer{}, "csh", app()); err == nil || !strings.Contains(err.Error(), "choose bash, zsh, fish") {
		t.Errorf("another shell: %v", err)
	}
}

// TestMan checks the page's lines, and that groff accepts it where it is installed.
func TestMan(t *testing.T) {
	var b bytes.Buffer
	if err := Man(&b, app(), "1.2-dirty"); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		`.TH TOOL 1 "" "tool 1.2\-dirty"`, ".SH \"TOOL TRAIN\"\ntrain it\n", ".TP\n\\fB\\-\\-data\\-dir\\fR DIR\nthe user\\(aqs DIR [of images]: any; more\n",
		".TP\n\\fB\\-\\-version, \\-v\\fR\nprint the version\n", ".SH \"TOOL DATA INFO\"",
	} {
		if !strings.Contains(b.String(), line) {
			t.Errorf("no %q in\n%s", line, b.String())
		}
	}
	if strings.Contains(b.String(), "secret") || strings.Contains(b.String(), "HIDDEN") {
		t.Error(b.String())
	}
	if _, err := exec.LookPath("groff"); err == nil {
		groff := exec.Command("groff", "-man", "-Tutf8", "-ww", "-z")
		groff.Stdin = &b
		if out, err := groff.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("groff: %v: %s", err, out)
		}
	}
}

// TestHelpOnce: a program that runs has added the flag help to its own.
func TestHelpOnce(t *testing.T) {
	for _, flags := range [][]urfave.Flag{nil, {urfave.HelpFlag}} {
		all := flagsOf(flags)
		if n := len(slices.DeleteFunc(all, func(f flag) bool { return f.name != "help" })); n != 1 {
			t.Errorf("%d flags: help is listed %d times", len(flags), n)
		}
	}
}
