package terminal

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.uber.org/zap/buffer"
	"go.uber.org/zap/zapcore"
)

// File names, flag values and other programs' messages can hold control characters: ESC
// [2J clears a terminal, U+202E reverses the text that follows. All text output except
// JSON passes through Printable.

// Printable replaces control and invisible characters by Go's escapes: \x1b, \u202e, \xff
// for an invalid UTF-8 byte. Newlines and tabs stay.
func Printable(text string) string {
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

// unprintable reports whether a rune needs an escape. The joiners of emoji and some
// scripts do not; an invalid UTF-8 byte decodes to utf8.RuneError.
func unprintable(r rune) bool {
	switch r {
	case '\n', '\t', '\u200c', '\u200d':
		return false
	}
	return r == utf8.RuneError || !unicode.IsGraphic(r)
}

// PrintableWriter escapes text for a terminal. Each Write must hold whole characters.
type PrintableWriter struct{ io.Writer }

// Write writes p, and counts the bytes of p.
func (w PrintableWriter) Write(p []byte) (int, error) {
	if _, err := io.WriteString(w.Writer, Printable(string(p))); err != nil {
		return 0, err
	}
	return len(p), nil
}

// printableEncoder escapes the messages and fields of zap's console encoder.
type printableEncoder struct{ zapcore.Encoder }

// Clone copies the encoder, for fields that a logger adds to all of its lines.
func (e printableEncoder) Clone() zapcore.Encoder { return printableEncoder{e.Encoder.Clone()} }

// EncodeEntry encodes a log line. Fields are JSON, which escapes runes below U+0020, so
// an ESC in the result belongs to a colour.
func (e printableEncoder) EncodeEntry(entry zapcore.Entry, fields []zapcore.Field) (*buffer.Buffer, error) {
	entry.Message = Printable(entry.Message)
	line, err := e.Encoder.EncodeEntry(entry, fields)
	if err != nil {
		return nil, err
	}
	const esc = "\x1b"
	parts := strings.Split(line.String(), esc)
	for i := range parts {
		parts[i] = Printable(parts[i])
	}
	line.Reset()
	line.AppendString(strings.Join(parts, esc))
	return line, nil
}
