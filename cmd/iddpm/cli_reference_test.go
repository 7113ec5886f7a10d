package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	urfave "github.com/urfave/cli/v2"
)

var update = flag.Bool("update", false, "rewrite docs/cli.md")

// TestCLIReference keeps docs/cli.md what --help prints; -update rewrites it.
func TestCLIReference(t *testing.T) {
	path := filepath.Join("..", "..", "docs", "cli.md")
	want := cliReference(t)
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("docs/cli.md is not what --help prints: go test ./cmd/iddpm -run CLIReference -update")
	}
}

// cliReference is the help text of every command, as Markdown.
func cliReference(t *testing.T) string {
	var text strings.Builder
	text.WriteString("# Command line reference\n\nWhat `--help` prints. Generated: `go test ./cmd/iddpm -run CLIReference -update` rewrites this file.\n")
	var add func(path []string, commands []*urfave.Command)
	add = func(path []string, commands []*urfave.Command) {
		fmt.Fprintf(&text, "\n## %s\n\n```\n%s```\n", strings.Join(append([]string{"iddpm"}, path...), " "), help(t, path))
		for _, c := range commands {
			if !c.Hidden {
				add(append(path[:len(path):len(path)], c.Name), c.Subcommands)
			}
		}
	}
	add(nil, new(program).app().Commands)
	return text.String()
}

func help(t *testing.T, command []string) string {
	var out bytes.Buffer
	p := program{stdout: &out, stderr: &out, env: func(string) (string, bool) { return "", false }}
	if status := p.run(t.Context(), append(command[:len(command):len(command)], "--help")); status != exitDone {
		t.Fatalf("iddpm %s --help: exit status %d", strings.Join(command, " "), status)
	}
	lines := strings.Split(strings.TrimRight(out.String(), "\n"), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimRight(line, " ")
	}
	return strings.Join(lines, "\n") + "\n"
}
