package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/wangkuiyi/gotorch"

	"iddpm/internal/cli"
	"iddpm/train"
)

func TestWithAdvice(t *testing.T) {
	tooMuch := gotorch.Try(func() { gotorch.EmptyOn(gotorch.Device{}, gotorch.Byte, 1<<56) })
	got := withAdvice(fmt.Errorf("step 3: %w", tooMuch), false, cli.Syntax{Flags: map[string]cli.Flag{"batch-size": {}}}).Error()
	for _, want := range []string{"step 3", "out of memory: failed to allocate 720575940379", "--batch-size"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q lacks %q", got, want)
		}
	}
	for want, err := range map[string]error{
		"--init-from":  &train.PrecisionError{Precision: "bf16"},
		"--device cpu": &gotorch.CapabilityError{},
	} {
		if got := withAdvice(fmt.Errorf("begin: %w", err), false, cli.Syntax{}).Error(); !strings.Contains(got, "begin: ") || !strings.Contains(got, want) {
			t.Errorf("%q lacks %q", got, want)
		}
	}
	other := errors.New("the disk is full")
	if withAdvice(other, true, cli.Syntax{}) != other || withAdvice(nil, true, cli.Syntax{}) != nil {
		t.Error("an error that is not about memory is changed")
	}
}
