package main

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// exists reports whether there is anything at a path, readable or not.
func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, os.ErrNotExist)
}

// isNPZ reports whether a path names an .npz file.
func isNPZ(path string) bool { return strings.EqualFold(filepath.Ext(path), ".npz") }

// shellWord spells a path or URL for a shell, which would take apart what holds
// more than plainWord does, as in s3://bucket/run?a=b&c=d. What begins like a flag
// is a file of the present folder.
func shellWord(word string) string {
	if strings.HasPrefix(word, "-") {
		word = "./" + word
	}
	if plainWord.MatchString(word) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// plainWord is what no shell reads anything into.
var plainWord = regexp.MustCompile(`^[A-Za-z0-9@%_+:,./-][A-Za-z0-9@%_+:,./=-]*$`)
