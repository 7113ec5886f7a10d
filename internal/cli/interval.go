package cli

import (
	"fmt"
	"strconv"
	"strings"

	"iddpm/train"
)

// intervalValue is the value of --sample-interval: a number of steps, or auto, which is
// [train.AutoInterval] in a run's config.json.
type intervalValue struct{ samples *train.SampleConfig }

// Set parses text into the interval.
func (v *intervalValue) Set(text string) error {
	n, text := train.AutoInterval, strings.TrimSpace(text)
	if text != "auto" {
		var err error
		if n, err = strconv.Atoi(text); err != nil || n < train.AutoInterval {
			return fmt.Errorf("%q is neither a number of steps nor auto", text)
		}
	}
	if v.samples != nil {
		v.samples.Interval, v.samples.Chosen = n, false
	}
	return nil
}

// String is the inverse of Set.
func (v *intervalValue) String() string {
	if v.samples.Interval == train.AutoInterval {
		return "auto"
	}
	return strconv.Itoa(v.samples.Interval)
}
