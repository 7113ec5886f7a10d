package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// makeFolder creates the output folder and checks that it is writable, before the work
// and not after it. flag names the folder; release removes it if it is new and empty.
func makeFolder(dir, flag string) (release func(), err error) {
	release = func() {}
	if !exists(dir) {
		release = func() { os.Remove(dir) }
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, fmt.Errorf("cannot create the output folder, name another by %s: %w", flag, err)
	}
	probe, err := os.CreateTemp(dir, ".iddpm-")
	if err != nil {
		return nil, fmt.Errorf("cannot write to the output folder, name another by %s: %w", flag, err)
	}
	return release, errors.Join(probe.Close(), os.Remove(probe.Name()))
}

// unused turns file names, of which some may be empty, into paths in a folder that do not
// exist yet: if one exists, all of them get the first free number.
func unused(dir string, names ...*string) {
	taken := func(end string) bool {
		for _, name := range names {
			if *name != "" && exists(numbered(dir, *name, end)) {
				return true
			}
		}
		return false
	}
	end := ""
	for n := 2; taken(end); n++ {
		end = fmt.Sprintf("-%d", n)
	}
	for _, name := range names {
		if *name != "" {
			*name = numbered(dir, *name, end)
		}
	}
}

// numbered returns the path of a file with an end inserted before its extension.
func numbered(dir, name, end string) string {
	extension := filepath.Ext(name)
	return filepath.Join(dir, strings.TrimSuffix(name, extension)+end+extension)
}

// cannotWrite adds the file's path to a write error.
func cannotWrite(path string, err error) error {
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	return nil
}

// table collects lines of names and values.
type table struct{ strings.Builder }

// line writes a name and its value.
func (t *table) line(name, format string, args ...any) {
	fmt.Fprintf(t, "%-26s%s\n", name, fmt.Sprintf(format, args...))
}

// shown limits the lines that list writes; JSON has all.
const shown = 20

// list writes the number of lines, and the first of them.
func (t *table) list(name string, lines []string) {
	t.line(name, "%d", len(lines))
	for _, line := range lines[:min(len(lines), shown)] {
		fmt.Fprintln(t, "  "+line)
	}
	if more := len(lines) - shown; more > 0 {
		fmt.Fprintf(t, "  and %d more, which --json lists\n", more)
	}
}

// size formats bytes with a binary unit.
func size(bytes int64) string {
	switch {
	case bytes >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(bytes)/(1<<30))
	case bytes >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20))
	}
	return fmt.Sprintf("%.1f KiB", float64(bytes)/(1<<10))
}
