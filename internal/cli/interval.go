package cli

import (
	"fmt"
	"strconv"
	"strings"

	"iddpm/runconfig"
)

// intervalValue is the value of --sample-interval: a number of steps, or auto, which is
// [runconfig.AutoInterval] in a run's config.json.
type intervalValue struct{ samples *runconfig.SampleConfig }

// Set parses text into the interval.
func (v *intervalValue) Set(text string) error {
	n, text := runconfig.AutoInterval, strings.TrimSpace(text)
	if text != "auto" {
		var err error
		if n, err = strconv.Atoi(text); err != nil || n < runconfig.AutoInterval {
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
	if v.samples.Interval == runconfig.AutoInterval {
		return "auto"
	}
	return strconv.Itoa(v.samples.Interval)
}
