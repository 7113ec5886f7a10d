package cli

import (
	"fmt"
	"strconv"
	"strings"

	"iddpm/runconfig"
)

// microbatchValue is the value of --microbatch: a number of images, or auto.
type microbatchValue struct{ options *runconfig.Options }

// Set parses text into the options; nil options only check it.
func (v *microbatchValue) Set(text string) error {
	n, err := 0, error(nil)
	auto := strings.TrimSpace(text) == "auto"
	if !auto {
		if n, err = strconv.Atoi(strings.TrimSpace(text)); err != nil {
			return fmt.Errorf("%q is neither a whole number nor auto", text)
		}
	}
	if v.options != nil {
		v.options.Microbatch, v.options.MicrobatchAuto = n, auto
	}
	return nil
}

// String is the inverse of Set.
func (v *microbatchValue) String() string {
	if v.options.MicrobatchAuto && v.options.Microbatch < 1 {
		return "auto"
	}
	return strconv.Itoa(v.options.Microbatch)
}
