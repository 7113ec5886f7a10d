// Package textfile decodes the text files that users write by hand or with a
// spreadsheet: label tables, dataset.json and settings.
package textfile

import (
	"bytes"
	"fmt"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/unicode"
)

// EncodingError says why a file is not readable text.
type EncodingError struct {
	Line   int    // of the first byte that cannot be decoded, from 1; 0 if the whole file is not text
	Reason string // cause and hint
}

func (e *EncodingError) Error() string {
	if e.Line == 0 {
		return e.Reason
	}
	return fmt.Sprintf("line %d: %s", e.Line, e.Reason)
}

// Decode returns the text of a file in UTF-8 or UTF-16, without its byte-order mark.
// Other encodings are an [EncodingError]: guessing among them would misspell names.
func Decode(file []byte) (string, error) {
	decoder := unicode.BOMOverride(encoding.Nop.NewDecoder())
	switch {
	case bytes.HasPrefix(file, []byte("PK\x03\x04")), bytes.HasPrefix(file, []byte("\xd0\xcf\x11\xe0")):
		return "", &EncodingError{Reason: "is a spreadsheet or an archive, not text: save it as CSV UTF-8"}
	case len(file) > 1 && file[0] != 0 && file[1] == 0: // UTF-16 without a byte-order mark, detected by its first ASCII character
		decoder = unicode.BOMOverride(unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM).NewDecoder())
	case len(file) > 1 && file[0] == 0 && file[1] != 0:
		decoder = unicode.BOMOverride(unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM).NewDecoder())
	}
	text := make([]byte, 3*len(file)+utf8.UTFMax) // two bytes of UTF-16 are at most three of UTF-8
	n, _, err := decoder.Transform(text, file, true)
	if err != nil {
		return "", &EncodingError{Reason: "cannot be decoded: " + err.Error()}
	}
	text = text[:n]
	if i := undecodable(text); i >= 0 {
		return "", &EncodingError{Line: 1 + bytes.Count(text[:i], []byte("\n")), Reason: fmt.Sprintf("byte %#02x is neither UTF-8 nor UTF-16: save the file as UTF-8", text[i])}
	}
	return string(text), nil
}

// undecodable returns the index of the first byte that is not valid text, or -1.
func undecodable(text []byte) int {
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && size == 1 || r == 0 {
			return i
		}
		i += size
	}
	return -1
}
