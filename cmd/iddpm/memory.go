package main

import (
	"errors"
	"fmt"

	"github.com/wangkuiyi/gotorch"
)

// withAdvice says what to do where an error is for want of memory.
func withAdvice(err error) error {
	var refused *gotorch.Error
	if !errors.As(err, &refused) || !refused.OutOfMemory {
		return err
	}
	return fmt.Errorf("%w\n(a smaller --batch-size takes less memory; in training --microbatch and --use-checkpoint do, too, and change no gradient)", err)
}
