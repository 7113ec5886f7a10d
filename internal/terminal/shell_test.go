package terminal

import "testing"

func TestShellWord(t *testing.T) {
	for word, want := range map[string]string{
		"runs/001-emoji":      "runs/001-emoji",
		"gs://bucket/a=b/@1%": "gs://bucket/a=b/@1%",
		"s3://b/r?a=b&c=d":    "'s3://b/r?a=b&c=d'",
		"it's":                `'it'\''s'`,
		"a (1)":               "'a (1)'",
		"a#b":                 "'a#b'",
		"a\nb":                "'a\nb'",
		"~x":                  "'~x'",
		"été":                 "'été'",
		"=x":                  "'=x'",
		"-x":                  "./-x",
		"- x":                 "'./- x'",
		"":                    "''",
	} {
		if got := ShellWord(word); got != want {
			t.Errorf("%q: %s, want %s", word, got, want)
		}
	}
}
