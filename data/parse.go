package data

import (
	"fmt"
	"image/color"
	"math"
	"strconv"
	"strings"

	"golang.org/x/image/colornames"
)

// ParseColour reads an opaque colour as CSS spells it: a name, such as white or
// darkslategray, or #rrggbb, or #rgb.
func ParseColour(text string) (color.Color, error) {
	if c, ok := colornames.Map[strings.ToLower(text)]; ok {
		return c, nil
	}
	digits, hex := strings.CutPrefix(text, "#")
	if len(digits) == 3 {
		digits = string([]byte{digits[0], digits[0], digits[1], digits[1], digits[2], digits[2]})
	}
	v, err := strconv.ParseUint(digits, 16, 24)
	if !hex || len(digits) != 6 || err != nil {
		return nil, fmt.Errorf("%q is not a colour: write #rrggbb, or a name of CSS such as white, black or gray", text)
	}
	return color.NRGBA{byte(v >> 16), byte(v >> 8), byte(v), 255}, nil
}

// ParseCache reads Options.CacheBytes: auto, none, or a number of bytes with a
// unit of 1024, such as 500M or 8GiB.
func ParseCache(text string) (bytes int64, err error) {
	switch strings.ToLower(text) {
	case "auto":
		return 0, nil
	case "none":
		return -1, nil
	}
	number := strings.TrimRight(text, "iB")
	shift := 0
	if n := len(number); n > 0 {
		if k := strings.IndexByte("KMGT", number[n-1]); k >= 0 {
			number, shift = number[:n-1], 10*(k+1)
		}
	}
	v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if size := v * float64(int64(1)<<shift); err == nil && size >= 1 && size < math.MaxInt64 {
		return int64(size), nil
	}
	return 0, fmt.Errorf("%q is not a size of memory: write auto, none, or as 500M or 8GiB", text)
}
