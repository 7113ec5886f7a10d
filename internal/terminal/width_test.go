package terminal

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestLineCutter(t *testing.T) {
	for _, test := range []struct {
		width    int
		in, want string
	}{
		{10, "\rstep 12/300  loss", "\rstep 12/3"},
		{10, "123456789", "123456789"},
		{10, "1234567890", "123456789"},
		{10, "\x1b[2K\r\x1b[32m1234567890\x1b[0m", "\x1b[2K\r\x1b[32m123456789\x1b[0m"},
		{10, "12345678901\r12345678901\n1", "123456789\r123456789\n1"},
		{4, "█████", "███"},
		{1, "abc\n", "\n"},
		{0, strings.Repeat("x", 100), strings.Repeat("x", 79)},
	} {
		var out bytes.Buffer
		n, err := lineCutter{&out, func() int { return test.width }}.Write([]byte(test.in))
		if n != len(test.in) || err != nil || out.String() != test.want {
			t.Errorf("%d columns: %d, %v, %q, want %q", test.width, n, err, out.String(), test.want)
		}
	}
}

// TestBarFitsTerminal checks that the bar follows the width of the terminal as it changes.
func TestBarFitsTerminal(t *testing.T) {
	var out bytes.Buffer
	columns := 40
	s := &Screen{out: &out, terminal: true, columns: func() int { return columns }}
	escapes := regexp.MustCompile("\x1b\\[[0-9;]*[A-Za-z]")
	const what = "step 123456/500000  loss 0.0123  1234.5 img/s "
	for i, width := range []int{40, 100, 25} {
		columns = width
		out.Reset()
		s.shown = time.Time{}
		s.Show(i+1, 1000, what)
		widest := 0
		for line := range strings.FieldsFuncSeq(out.String(), func(r rune) bool { return r == '\r' || r == '\n' }) {
			line = escapes.ReplaceAllString(line, "")
			widest = max(widest, len([]rune(line)))
		}
		if widest == 0 || widest >= width {
			t.Errorf("%d columns: a line of %d: %q", width, widest, out.String())
		}
		if strings.Contains(out.String(), "\n") {
			t.Errorf("%d columns: a new line: %q", width, out.String())
		}
	}
}
