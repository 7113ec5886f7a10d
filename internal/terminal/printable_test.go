package terminal

import (
	"bytes"
	"strings"
	"testing"

	"go.uber.org/zap"
)

// controls holds characters that control a terminal: C0 and C1 controls, DEL, bidirectional
// overrides, Unicode line separators, and an invalid UTF-8 byte.
const controls = "a\x1b[2J\x07\r\x7f\u009b2J\u202eb\u2028\u200f\ufeff\xffz"

const escaped = `a\x1b[2J\x07\x0d\x7f\u009b2J\u202eb\u2028\u200f\ufeff\xffz`

// TestPrintable escapes text that controls a terminal, and no other.
func TestPrintable(t *testing.T) {
	for text, want := range map[string]string{
		"":                        "",
		"plain text\n\twith ±":    "plain text\n\twith ±",
		"猫　ねこ é e\u0301 👩\u200d🚀": "猫　ねこ é e\u0301 👩\u200d🚀",
		controls:                  escaped,
		"\U000e0041":              `\U000e0041`,
		"\xf0\x9f\x98":            `\xf0\x9f\x98`,
		"\ufffd":                  `\ufffd`,
		"\x00":                    `\x00`,
	} {
		if got := Printable(text); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

// TestColouredOutputIsPrintable checks the log lines of a terminal with colours.
func TestColouredOutputIsPrintable(t *testing.T) {
	var out bytes.Buffer
	coloured := &Screen{out: &out, terminal: true, colours: true}
	coloured.Logger(false).Info(controls, zap.String("name", controls))
	if !strings.Contains(out.String(), "\x1b[34mINFO\x1b[0m") {
		t.Errorf("the level has no colour: %q", out.String())
	}
	text := strings.NewReplacer("\x1b[34m", "", "\x1b[0m", "").Replace(out.String())
	if Printable(text) != text {
		t.Errorf("unprintable in %q", text)
	}
}
