package terminal

import (
	"bytes"
	"io"
	"unicode/utf8"
)

// lineCutter truncates lines to the width of a terminal: a wider progress bar would leave
// a line behind at each update.
type lineCutter struct {
	out   io.Writer
	width func() int // current columns of the terminal; 0: unknown
}

// Write writes p, in which a line begins at the start and after \r and \n. Escape sequences
// have no width. The last column stays free: some terminals wrap when it is filled.
func (c lineCutter) Write(p []byte) (int, error) {
	room := c.width() - 1
	if room < 0 {
		room = 79
	}
	var line bytes.Buffer
	for rest, column := p, 0; len(rest) > 0; {
		n := escapeLength(rest)
		escape := n > 0
		if !escape {
			_, n = utf8.DecodeRune(rest)
			if column++; rest[0] == '\r' || rest[0] == '\n' {
				column = 0
			}
		}
		if escape || column <= room {
			line.Write(rest[:n])
		}
		rest = rest[n:]
	}
	if _, err := c.out.Write(line.Bytes()); err != nil {
		return 0, err
	}
	return len(p), nil
}

// escapeLength returns how many bytes at the start of p are a control sequence, ESC [ ...
// letter; 0: none.
func escapeLength(p []byte) int {
	if len(p) < 2 || p[0] != 0x1b || p[1] != '[' {
		return 0
	}
	for i := 2; i < len(p); i++ {
		if p[i] >= '@' && p[i] <= '~' {
			return i + 1
		}
	}
	return len(p)
}
