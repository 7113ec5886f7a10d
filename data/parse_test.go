package data

import (
	"strings"
	"testing"

	"iddpm/data/imaging"
)

func TestParseColour(t *testing.T) {
	for text, want := range map[string]imaging.Background{
		"white": {255, 255, 255}, "Black": {}, "darkslategray": {47, 79, 79},
		"#c81e3c": {200, 30, 60}, "#C81E3C": {200, 30, 60}, "#fa0": {255, 170, 0},
	} {
		c, err := ParseColour(text)
		if err != nil || imaging.NewBackground(c) != want {
			t.Errorf("%s is %v, %v, want %v", text, c, err, want)
		}
	}
	for _, text := range []string{"", "#", "#12", "#1234567", "#12345", "#+12345", "#12 456", "123456", "whitish", "rebeccapurple", "#éa"} {
		if c, err := ParseColour(text); err == nil || !strings.Contains(err.Error(), "is not a colour") {
			t.Errorf("%q is %v, %v", text, c, err)
		}
	}
}

func TestParseCache(t *testing.T) {
	for text, want := range map[string]int64{
		"auto": 0, "None": -1, "1": 1, "4096B": 4096, "500M": 500 << 20, "8GiB": 8 << 30, "1.5 G": 3 << 29, "64KB": 64 << 10, "2T": 2 << 40,
	} {
		if got, err := ParseCache(text); err != nil || got != want {
			t.Errorf("%s is %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "0", "-1", "-5G", "G", "much", "1e30", "NaN", "5P"} {
		if got, err := ParseCache(text); err == nil || !strings.Contains(err.Error(), "is not a size") {
			t.Errorf("%q is %d, %v", text, got, err)
		}
	}
}
