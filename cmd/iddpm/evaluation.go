package main

import (
	"github.com/wangkuiyi/gotorch"

	"iddpm/data"
	"iddpm/train"
)

// evaluationSet opens the pictures to evaluate a model on: those of dir, or else
// what its run evaluated on or held out, or else what it was trained on.
func evaluationSet(c train.Config, dir, split string) (*data.Dataset, error) {
	settings := c.DataOptions()
	settings.Split = split
	if dir == "" {
		dir = c.Eval.Dir
	}
	if dir == "" {
		dir, settings.HoldOut, settings.HeldOut = c.Data.Dir, c.Eval.HoldOut, c.Eval.HoldOut > 0
	}
	return data.Open(dir, settings)
}

// tensorOf turns bytes [N, H, W, 3] into pictures [N, 3, H, W] in [-1, 1], in
// channels-last memory, as training does.
func tensorOf(pixels []byte, n, size int64, device gotorch.Device) gotorch.Tensor {
	bytes := gotorch.FromBytes(pixels, gotorch.Byte, n, size, size, 3).To(device)
	halfRange := gotorch.FullOn(device, gotorch.Float, 127.5)
	return bytes.CastTo(gotorch.Float).DivI(halfRange).AddScalarI(-1).Permute([]int64{0, 3, 1, 2})
}
