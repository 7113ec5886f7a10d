package textfile

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestDecode(t *testing.T) {
	const text = "é,猫\r\n"
	for name, file := range map[string]string{
		"UTF-8":               text,
		"UTF-8 with mark":     "\xef\xbb\xbf" + text,
		"UTF-16LE with mark":  "\xff\xfe\xe9\x00,\x00\x2b\x73\r\x00\n\x00",
		"UTF-16BE with mark":  "\xfe\xff\x00\xe9\x00,\x73\x2b\x00\r\x00\n",
		"UTF-16LE, no mark":   "\xe9\x00,\x00\x2b\x73\r\x00\n\x00",
		"UTF-16BE, no mark":   "\x00\xe9\x00,\x73\x2b\x00\r\x00\n",
		"a mark and no more":  "\xef\xbb\xbf",
		"nothing":             "",
		"a U+FFFD of its own": "\ufffd",
	} {
		want := text
		switch name {
		case "a mark and no more", "nothing":
			want = ""
		case "a U+FFFD of its own":
			want = file
		}
		if got, err := Decode([]byte(file)); got != want || err != nil {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	for name, test := range map[string]struct{ file, want string }{
		"Windows-1252": {"a,b\ncaf\xe9,c\n", "line 2: byte 0xe9 is neither UTF-8 nor UTF-16: save the file as UTF-8"},
		"NUL":          {"ab\x00c", "line 1: byte 0x00"},
		"xlsx":         {"PK\x03\x04\x14\x00", "is a spreadsheet or an archive"},
		"xls":          {"\xd0\xcf\x11\xe0\xa1", "is a spreadsheet or an archive"},
	} {
		_, err := Decode([]byte(test.file))
		var e *EncodingError
		if !errors.As(err, &e) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{"a", "\xff\xfea\x00", "\xef\xbb\xbf", "\xff\xfe\x00\xd8", "\x00a\x00"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		if text, err := Decode(file); err == nil && !utf8.ValidString(text) {
			t.Errorf("%q is not UTF-8", text)
		}
	})
}
