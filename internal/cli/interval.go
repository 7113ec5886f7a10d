package cli

import (
	"fmt"
	"strconv"
	"strings"

	"iddpm/train"
)

// intervalValue is the value of --sample-interval: a number of steps, or auto.
type intervalValue struct{ interval *int }

// Set parses text into the interval.
func (v *intervalValue) Set(text string) error {
	n, text := train.AutoInterval, strings.TrimSpace(text)
	if text != "auto" {
		var err error
		if n, err = strconv.Atoi(text); err != nil || n < 0 {
			return fmt.Errorf("%q is neither a number of steps nor auto", text)
		}
	}
	if v.interval != nil {
		*v.interval = n
	}
	return nil
}

// String is the inverse of Set.
func (v *intervalValue) String() string {
	if *v.interval == train.AutoInterval {
		return "auto"
	}
	return strconv.Itoa(*v.interval)
}
