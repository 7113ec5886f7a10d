package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"iddpm/internal/terminal"

	"go.uber.org/zap"
)

// hostile holds characters that control a terminal: C0 and C1 controls, DEL, bidirectional
// overrides, Unicode line separators, and an invalid UTF-8 byte.
const hostile = "a\x1b[2J\x07\r\x7f\u009b2J\u202eb\u2028\u200f\ufeff\xffz"

const quoted = `a\x1b[2J\x07\x0d\x7f\u009b2J\u202eb\u2028\u200f\ufeff\xffz`

// checkPrintable fails if text holds a control character other than newline.
func checkPrintable(t *testing.T, name, text string) {
	t.Helper()
	if got := terminal.Printable(text); got != text {
		t.Errorf("%s: unprintable in %q", name, text)
	}
}

// TestOutputIsPrintable checks log lines, errors and results; JSON keeps the text unchanged.
func TestOutputIsPrintable(t *testing.T) {
	var out bytes.Buffer
	p := &program{stdout: &out, stderr: &out}
	s := p.newSession(false, false)
	s.log.With(zap.String("with", hostile)).Warn("file "+hostile, zap.String("name", hostile), zap.Error(errors.New(hostile)), zap.Strings("all", []string{hostile}))
	p.say(zap.ErrorLevel, "cannot read "+hostile+"\nsecond line")
	if err := s.emit(nil, func(w io.Writer) error { _, err := fmt.Fprintln(w, hostile); return err }); err != nil {
		t.Fatal(err)
	}
	checkPrintable(t, "output", out.String())
	for _, want := range []string{"file " + quoted, "cannot read " + quoted + "\n  second line\n", "\n" + quoted + "\n", `"with": "a\u001b[2J`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q lacks %q", out.String(), want)
		}
	}
}

// TestErrorsArePrintable checks errors that quote file names, flag values and arguments.
func TestErrorsArePrintable(t *testing.T) {
	t.Chdir(t.TempDir())
	const name = "b\x1b[2J\u202e.png"
	if err := os.Mkdir("set", 0o777); err != nil {
		t.Fatal(err)
	}
	writeTo(t, filepath.Join("set", name), []byte("no image"))
	for _, args := range [][]string{
		{"train", "--steps", hostile},
		{"train", "--" + hostile},
		{hostile},
		{"sample", hostile},
		{"info", hostile},
		{"train", "--data-dir", "set", "--device", "cpu"},
		{"data", "info", "set"},
	} {
		got := iddpm(t, args...)
		checkPrintable(t, fmt.Sprintf("%q", args), got.stderr+got.stdout)
	}
	if got := iddpm(t, "sample", hostile); !strings.Contains(got.stderr, quoted) {
		t.Errorf("%s lacks %s", got.stderr, quoted)
	}
}
