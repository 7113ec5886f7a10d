package main

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// exists reports whether a path exists, readable or not.
func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, os.ErrNotExist)
}

// isNPZ reports whether a path names an .npz file.
func isNPZ(path string) bool { return strings.EqualFold(filepath.Ext(path), ".npz") }

// shellWord quotes a path or URL for a shell if it needs quotes, such as
// s3://bucket/run?a=b&c=d. It prefixes a path that begins like a flag with ./.
func shellWord(word string) string {
	if strings.HasPrefix(word, "-") {
		word = "./" + word
	}
	if plainWord.MatchString(word) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// plainWord matches text that needs no quotes in a shell.
var plainWord = regexp.MustCompile(`^[A-Za-z0-9@%_+:,./-][A-Za-z0-9@%_+:,./=-]*$`)
