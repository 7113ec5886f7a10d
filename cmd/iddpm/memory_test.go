package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/wangkuiyi/gotorch"

	"iddpm/train"
)

func TestWithAdvice(t *testing.T) {
	tooMuch := gotorch.Try(func() { gotorch.EmptyOn(gotorch.Device{}, gotorch.Byte, 1<<56) })
	got := withAdvice(fmt.Errorf("step 3: %w", tooMuch), false, syntax{flags: map[string]flagSyntax{"batch-size": {}}}).Error()
	for _, want := range []string{"step 3", "out of memory: 720575940379", "--batch-size"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q lacks %q", got, want)
		}
	}
	for want, err := range map[string]error{
		"--init-from":  &train.PrecisionError{Precision: "bf16"},
		"--device cpu": &gotorch.CapabilityError{},
	} {
		if got := withAdvice(fmt.Errorf("begin: %w", err), false, syntax{}).Error(); !strings.Contains(got, "begin: ") || !strings.Contains(got, want) {
			t.Errorf("%q lacks %q", got, want)
		}
	}
	other := errors.New("the disk is full")
	if withAdvice(other, true, syntax{}) != other || withAdvice(nil, true, syntax{}) != nil {
		t.Error("an error that is not about memory is changed")
	}
}
