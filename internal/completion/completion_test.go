package completion

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

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

// TestShells completes lines in the real shells.
func TestShells(t *testing.T) {
	lines := []struct{ line, want string }{
		{"tool ", "data train"},
		{"tool t", "train"},
		{"tool train --", "--data-dir --fast --help"},
		{"tool train --d", "--data-dir"},
		{"tool data ", "info pack"},
		{"tool data info --s", "--sheet"},
		{"tool train --fast completion_te", "completion_test.go"},
		{"tool train --data-dir completion_te", "completion_test.go"},
		{"tool data info data --sh", "--sheet"},
		{"tool train --data-dir data --f", "--fast"},
		{"tool train --data-dir data completion_te", "completion_test.go"},
		{"tool data info --sheet pack completion_te", "completion_test.go"},
	}
	var typed []string
	for _, c := range lines {
		typed = append(typed, c.line)
	}
	for shell, complete := range map[string]func(*testing.T, []string) []string{"bash": completeBash, "zsh": completeZsh, "fish": completeFish} {
		t.Run(shell, func(t *testing.T) {
			if _, err := exec.LookPath(shell); err != nil {
				t.Skipf("%s is not installed: its completion is untested", shell)
			}
			found := complete(t, typed)
			for i, c := range lines {
				got := strings.Fields(found[i])
				slices.Sort(got)
				if strings.Join(got, " ") != c.want {
					t.Errorf("%q: %q, want %q", c.line, got, c.want)
				}
			}
		})
	}
}

func completeBash(t *testing.T, lines []string) (found []string) {
	for _, line := range lines {
		words := strings.Split(line, " ")
		found = append(found, output(t, "bash", "-c", script(t, "bash")+"COMP_WORDS=("+strings.Join(words[:len(words)-1], " ")+" '"+words[len(words)-1]+"'); COMP_CWORD=$((${#COMP_WORDS[@]}-1)); _tool; echo \"${COMPREPLY[@]}\""))
	}
	return found
}

// completeZsh completes at a prompt, since zsh has no other way.
func completeZsh(t *testing.T, lines []string) []string {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "_tool"), []byte(script(t, "zsh")), 0o644); err != nil {
		t.Fatal(err)
	}
	return strings.SplitAfter(output(t, "zsh", append([]string{"-f", "testdata/capture.zsh", dir}, lines...)...), "\n")
}

func completeFish(t *testing.T, lines []string) (found []string) {
	for _, line := range lines {
		var words string
		for match := range strings.Lines(output(t, "fish", "--no-config", "-c", script(t, "fish")+"complete -C $argv[1]", line)) {
			word, _, _ := strings.Cut(match, "\t") // before its description
			words += word + " "
		}
		found = append(found, words)
	}
	return found
}

func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", name, err, out)
	}
	return string(out)
}

// TestTexts checks the lines of zsh and fish, with their quotes.
func TestTexts(t *testing.T) {
	for shell, lines := range map[string][]string{
		"zsh":  {"#compdef tool", "'train:train it'", `'--data-dir[the user'\''s DIR \[of images\]\: any]:value:_files'`, `'--fast[it'\''s fast]'`, "data) _tool_data ;;", "_tool_data_info() {"},
		"fish": {"complete -c tool -f -n '__tool_at ' -a train -d 'train it'", "complete -c tool -n '__tool_at /data/info' -l sheet -r -d ''", "-s v -d 'print the version'", "case /train /data /data/info /data/pack\n"},
	} {
		text := script(t, shell)
		for _, line := range lines {
			if !strings.Contains(text, line) {
				t.Errorf("%s lacks %s:\n%s", shell, line, text)
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
