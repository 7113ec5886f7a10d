package terminal

import (
	"fmt"
	"strings"
)

// Table collects lines of names and values.
type Table struct{ strings.Builder }

// Line writes a name and its value.
func (t *Table) Line(name, format string, args ...any) {
	fmt.Fprintf(t, "%-26s%s\n", name, fmt.Sprintf(format, args...))
}

// MaxListed limits the lines that List writes; JSON has all.
const MaxListed = 20

// List writes the number of lines, and the first of them.
func (t *Table) List(name string, lines []string) {
	t.Line(name, "%d", len(lines))
	for _, line := range lines[:min(len(lines), MaxListed)] {
		fmt.Fprintln(t, "  "+line)
	}
	if more := len(lines) - MaxListed; more > 0 {
		fmt.Fprintf(t, "  and %d more, which --json lists\n", more)
	}
}

// FormatBytes formats bytes with a binary unit.
func FormatBytes(bytes int64) string {
	switch {
	case bytes >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(bytes)/(1<<30))
	case bytes >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20))
	}
	return fmt.Sprintf("%.1f KiB", float64(bytes)/(1<<10))
}
