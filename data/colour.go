package data

import (
	"fmt"
	"image/color"
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
