package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/wangkuiyi/gotorch"

	"iddpm/checkpoint"
	"iddpm/data"
	"iddpm/internal/cli"
	"iddpm/model"
	"iddpm/train"
	"iddpm/train/engine"
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
		"--init-from":  &engine.PrecisionError{Precision: "bf16"},
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

// TestAdviceNamesFlags checks that errors of the libraries, which name no flags, get them.
func TestAdviceNamesFlags(t *testing.T) {
	syntax := cli.Syntax{Flags: map[string]cli.Flag{"labels": {}, "max-bad-images": {}}}
	for want, err := range map[string]error{
		"`iddpm resume 'my runs'`":       &train.RunExistsError{Dir: "my runs"},
		"stop it first":                  &train.InUseError{Dir: "a", Holder: "process 3"},
		"--init-from w.pt":               &checkpoint.NoStateError{Path: "w.pt"},
		"raise --steps":                  &train.PastEndError{Path: "a", Step: 2, End: 1},
		"raise --num-classes":            &train.ClassCountError{Data: "a", Found: 3, Network: 2},
		"--reinit-mismatched":            &train.InitError{Path: "w.pt", Err: &model.StateDictError{Mismatches: []*model.Mismatch{{Name: "out.2.bias"}}}},
		"--init-from names":              &train.InitError{Path: "w.pt", Err: os.ErrNotExist},
		"new location by --eval-data":    &train.MovedError{Setting: "eval-data", Err: os.ErrNotExist},
		"--init-from a/checkpoints/CKPT": &train.DivergedError{RunDir: "a", Steps: 3, Step: 9, Where: "the loss"},
		"--preset, or by the flags":      &model.StateDictError{Mismatches: []*model.Mismatch{{Name: "out.2.bias"}}},
		"--labels chooses":               &data.LabelsError{Err: errors.New("no classes")},
		"--max-bad-images N":             &data.BadImagesError{},
	} {
		got := withAdvice(fmt.Errorf("begin: %w", err), false, syntax).Error()
		if !strings.Contains(got, want) || !strings.Contains(got, err.Error()) {
			t.Errorf("%q lacks %q", got, want)
		}
		if strings.Contains(err.Error(), "--") {
			t.Errorf("the library names a flag: %v", err)
		}
	}
}
