// Command forward evaluates a checkpoint's network once, for the tests of interop:
//
//	forward CKPT IN.npz OUT.npy
//
// IN holds x, float32 [N, C, H, W], t, int64 [N], timesteps of the diffusion, and, for
// class-conditional networks, y, int64 [N]. OUT is the network's output in float32.
package main

import (
	"fmt"
	"os"

	"github.com/wangkuiyi/gotorch"
	"github.com/wangkuiyi/gotorch/npy"

	"iddpm/checkpoint"
	"iddpm/model"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: forward CKPT IN.npz OUT.npy")
		os.Exit(2)
	}
	if err := forward(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, "forward:", err)
		os.Exit(1)
	}
}

func forward(path, in, out string) error {
	c, err := checkpoint.Load(path)
	if err != nil {
		return err
	}
	arrays, err := npy.ReadNPZ(in)
	if err != nil {
		return err
	}
	x, err := arrays["x"].Float32s()
	if err != nil {
		return err
	}
	steps, err := arrays["t"].Int64s()
	if err != nil {
		return err
	}
	t := make([]float32, len(steps))
	for i, step := range steps {
		t[i] = float32(step)
	}
	var result *npy.Array
	err = gotorch.Try(func() {
		gotorch.Run(func() { result, err = evaluate(c, x, arrays["x"].Shape, t, arrays["y"]) })
	})
	if err != nil {
		return err
	}
	return npy.WriteFile(out, result)
}

func evaluate(c *checkpoint.Checkpoint, x []float32, shape []int64, t []float32, labels *npy.Array) (*npy.Array, error) {
	network, err := c.Network("", gotorch.Device{})
	if err != nil {
		return nil, err
	}
	defer network.Free()
	input := model.Input{}
	if labels != nil {
		y, err := labels.Int64s()
		if err != nil {
			return nil, err
		}
		input.Y = gotorch.FromInt64s(y)
	}
	steps := gotorch.FromFloat32s(t)
	if d := c.Config.Diffusion; d.RescaleTimesteps {
		steps = steps.MulScalar(1000 / float64(d.Steps))
	}
	var values gotorch.Tensor
	gotorch.NoGrad(func() { values = network.Forward(gotorch.FromFloat32s(x, shape...), steps, input) })
	return npy.New(values.Contiguous().Float32s(), values.Shape()...)
}
