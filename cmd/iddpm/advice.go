package main

import (
	"errors"
	"fmt"

	"github.com/wangkuiyi/gotorch"

	"iddpm/checkpoint"
	"iddpm/data"
	"iddpm/internal/cli"
	"iddpm/internal/host"
	"iddpm/internal/terminal"
	"iddpm/model"
	"iddpm/train"
	"iddpm/train/engine"
)

// withAdvice adds to an error of the libraries, which know no flags, those that help.
// container: this process runs in one; own: the command, so that only its flags are named.
func withAdvice(err error, container bool, own cli.Syntax) error {
	has := func(flag string) bool { _, ok := own.Flags[flag]; return ok }
	for _, advice := range []string{deviceAdvice(err, has), runAdvice(err), dataAdvice(err, has)} {
		if advice != "" {
			return fmt.Errorf("%w\n(%s)", err, advice)
		}
	}
	if advice := host.PermissionAdvice(err, container); advice != "" {
		return fmt.Errorf("%w\n%s", err, advice)
	}
	return err
}

// deviceAdvice is about GPUs and memory.
func deviceAdvice(err error, has func(flag string) bool) string {
	var refused *gotorch.Error
	var precision *engine.PrecisionError
	var tooOld *gotorch.CapabilityError
	switch {
	case errors.As(err, &refused) && refused.OutOfMemory && has("batch-size"):
		return "a smaller --batch-size needs less memory; in training so do --microbatch auto and --use-checkpoint, with the same gradients"
	case errors.As(err, &precision):
		return "--precision auto uses what the device supports; to continue a run in another precision, start a new one: iddpm train --init-from CHECKPOINT"
	case errors.As(err, &tooOld):
		return "--device cpu runs on the CPU, --device cuda:N on another GPU"
	}
	return ""
}

// runAdvice is about run folders and checkpoints.
func runAdvice(err error) string {
	var exists *train.RunExistsError
	var inUse *train.InUseError
	var noState *checkpoint.NoStateError
	var pastEnd *train.PastEndError
	var unfit *model.StateDictError
	var initial *train.InitError
	var diverged *train.DivergedError
	var size *checkpoint.ImageSizeError
	var noSnapshots *checkpoint.NoSnapshotsError
	if advice := diffusersAdvice(err); advice != "" {
		return advice
	}
	switch {
	case errors.As(err, &size):
		return "name it by --image-size, or the network by --preset"
	case errors.As(err, &noSnapshots):
		return "`iddpm train --power-ema 0.05,0.10` saves them; --at-step names a step after the first one"
	case errors.As(err, &exists):
		return fmt.Sprintf("resume it by `iddpm resume %s`, or name another --run-dir", terminal.ShellWord(exists.Dir))
	case errors.As(err, &inUse):
		return "stop it first, or name another --run-dir"
	case errors.As(err, &noState):
		return fmt.Sprintf("`iddpm train --init-from %s` starts a new run from the weights; a run folder, or a checkpoint in it, has the state", terminal.ShellWord(noState.Path))
	case errors.As(err, &pastEnd):
		return "raise --steps, or leave it out"
	case errors.As(err, &initial) && errors.As(err, &unfit):
		return "--reinit-mismatched re-initialises the layers that do not fit; --init-from names the checkpoint"
	case errors.As(err, &initial):
		return "--init-from names the checkpoint"
	case errors.As(err, &unfit):
		return "describe the network of the weights by --preset, or by the flags it was trained with"
	case errors.As(err, &diverged):
		return "start from an older checkpoint with a lower --lr, --grad-clip 1 or --precision fp32: iddpm train --init-from " + terminal.ShellWord(diverged.Checkpoints()+"/CKPT")
	}
	return ""
}

// dataAdvice is about images and their classes.
func dataAdvice(err error, has func(flag string) bool) string {
	var bad *data.BadImagesError
	var moved *train.MovedError
	var classes *train.ClassCountError
	var labels *data.LabelsError
	switch {
	case errors.As(err, &bad) && has("max-bad-images"):
		return "repair or remove the bad images, or skip up to N of them by --max-bad-images N"
	case errors.As(err, &bad):
		return "repair or remove the bad images"
	case errors.As(err, &moved):
		return "if they have moved, name their new location by --" + moved.Setting
	case errors.As(err, &classes):
		return "raise --num-classes"
	case errors.As(err, &labels) && has("labels"):
		return "--" + data.LabelsHint
	}
	return ""
}
