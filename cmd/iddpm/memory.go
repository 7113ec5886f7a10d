package main

import (
	"errors"
	"fmt"

	"github.com/wangkuiyi/gotorch"

	"iddpm/data"
	"iddpm/internal/cli"
	"iddpm/internal/host"
	"iddpm/train"
)

// withAdvice adds the flags or settings that help to an error of the GPU, of memory, of
// permission or of bad images. container: this process runs in one; own: the command, so
// that only its flags are named.
func withAdvice(err error, container bool, own cli.Syntax) error {
	has := func(flag string) bool { _, ok := own.Flags[flag]; return ok }
	var bad *data.BadImagesError
	var refused *gotorch.Error
	var precision *train.PrecisionError
	var tooOld *gotorch.CapabilityError
	switch {
	case errors.As(err, &bad) && has("max-bad-images"):
		return fmt.Errorf("%w\n(remove them, or skip up to N of them by --max-bad-images N)", err)
	case errors.As(err, &bad):
		return fmt.Errorf("%w\n(remove them)", err)
	case errors.As(err, &refused) && refused.OutOfMemory && has("batch-size"):
		return fmt.Errorf("%w\n(a smaller --batch-size needs less memory; in training so do --microbatch auto and --use-checkpoint, with the same gradients)", err)
	case errors.As(err, &precision):
		return fmt.Errorf("%w\n(--precision auto uses what the device supports; to continue a run in another precision, start a new one: iddpm train --init-from CHECKPOINT)", err)
	case errors.As(err, &tooOld):
		return fmt.Errorf("%w\n(--device cpu runs on the CPU, --device cuda:N on another GPU)", err)
	}
	if advice := host.PermissionAdvice(err, container); advice != "" {
		return fmt.Errorf("%w\n%s", err, advice)
	}
	return err
}
