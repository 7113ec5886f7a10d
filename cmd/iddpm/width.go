package main

import (
	"bytes"
	"io"
	"unicode/utf8"
)

// lineCutter cuts lines to the width of a terminal: a progress bar that is wider would
// leave a line behind each time it is drawn.
type lineCutter struct {
	out   io.Writer
	width func() int // columns of the terminal now; 0: not known
}

// Write writes p, in which a line begins at its start and after \r and \n. Escape sequences
// take no columns. The last column stays free: some terminals wrap as soon as it is filled.
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
