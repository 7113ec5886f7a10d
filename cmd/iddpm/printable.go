package main

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.uber.org/zap/buffer"
	"go.uber.org/zap/zapcore"
)

// File names, flag values and what other programs say may hold anything: ESC [2J clears a
// terminal, U+202E turns what follows around. All that goes to people, and not as JSON,
// passes through here.

// printable writes what a terminal would obey or not show as Go's escapes: \x1b, \u202e,
// \xff for a byte that is no UTF-8. Ends of lines and tabs stay.
func printable(text string) string {
	if !strings.ContainsFunc(text, unprintable) {
		return text
	}
	var b strings.Builder
	for i, r := range text {
		_, size := utf8.DecodeRuneInString(text[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, text[i])
		case !unprintable(r):
			b.WriteRune(r)
		case r < utf8.RuneSelf:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// unprintable reports whether a rune needs an escape. The joiners within emoji and some
// scripts do not; a byte that is no UTF-8 looks like utf8.RuneError.
func unprintable(r rune) bool {
	switch r {
	case '\n', '\t', '\u200c', '\u200d':
		return false
	}
	return r == utf8.RuneError || !unicode.IsGraphic(r)
}

// printableWriter is where text for people goes. Each Write holds whole characters.
type printableWriter struct{ io.Writer }

// Write writes p, and counts the bytes of p.
func (w printableWriter) Write(p []byte) (int, error) {
	if _, err := io.WriteString(w.Writer, printable(string(p))); err != nil {
		return 0, err
	}
	return len(p), nil
}

// printableEncoder is zap's console encoder for whatever messages and fields hold.
type printableEncoder struct{ zapcore.Encoder }

// Clone is there for fields that a logger adds to all of its lines.
func (e printableEncoder) Clone() zapcore.Encoder { return printableEncoder{e.Encoder.Clone()} }

// EncodeEntry encodes a line. Fields are JSON there, which escapes what is below U+0020 and
// leaves the rest; so an ESC in the result is a colour's.
func (e printableEncoder) EncodeEntry(entry zapcore.Entry, fields []zapcore.Field) (*buffer.Buffer, error) {
	entry.Message = printable(entry.Message)
	line, err := e.Encoder.EncodeEntry(entry, fields)
	if err != nil {
		return nil, err
	}
	const esc = "\x1b"
	parts := strings.Split(line.String(), esc)
	for i := range parts {
		parts[i] = printable(parts[i])
	}
	line.Reset()
	line.AppendString(strings.Join(parts, esc))
	return line, nil
}
