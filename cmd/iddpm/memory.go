package main

import (
	"errors"
	"fmt"

	"github.com/wangkuiyi/gotorch"
)

// withAdvice says what to do where an error is for want of memory or of permission.
// container: this process runs in one.
func withAdvice(err error, container bool) error {
	var refused *gotorch.Error
	if errors.As(err, &refused) && refused.OutOfMemory {
		return fmt.Errorf("%w\n(a smaller --batch-size takes less memory; in training --microbatch and --use-checkpoint do, too, and change no gradient)", err)
	}
	if advice := permissionAdvice(err, container); advice != "" {
		return fmt.Errorf("%w\n%s", err, advice)
	}
	return err
}
