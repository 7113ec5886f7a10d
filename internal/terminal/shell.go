package terminal

import (
	"regexp"
	"strings"
)

// ShellWord quotes a path or URL for a shell if it needs quotes, such as
// s3://bucket/run?a=b&c=d. It prefixes a path that begins like a flag with ./.
func ShellWord(word string) string {
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
