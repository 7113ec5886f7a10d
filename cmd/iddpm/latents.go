package main

import (
	"fmt"
	"slices"

	"github.com/wangkuiyi/gotorch/npy"

	"iddpm/inference"
	"iddpm/internal/cli"
	"iddpm/runconfig"
)

// readLatents reads the file that --invert writes: arr_0, float32 [N, C, H, W],
// and with classes arr_1, [N].
func readLatents(path string, c runconfig.Config) (*inference.Latents, error) {
	arrays, err := npy.ReadNPZ(path)
	if err != nil {
		return nil, err
	}
	size := int64(c.Model.ImageSize)
	want := []int64{int64(c.Model.InChannels), size, size}
	a := arrays["arr_0"]
	if a == nil || a.DType != npy.Float32 || len(a.Shape) != 4 || a.Shape[0] < 1 || !slices.Equal(a.Shape[1:], want) {
		return nil, fmt.Errorf("%s holds no latents of this network: arr_0 must be float32 [N, %d, %d, %d], as --invert writes it", path, want[0], want[1], want[2])
	}
	l := &inference.Latents{Shape: a.Shape}
	if l.Values, err = a.Float32s(); err != nil {
		return nil, err
	}
	if b := arrays["arr_1"]; b != nil && c.Model.ClassCond {
		if l.Labels, err = b.Int64s(); err != nil || len(l.Labels) != l.Len() {
			return nil, fmt.Errorf("%s: arr_1 must hold the classes of its %d latents", path, l.Len())
		}
		for _, label := range l.Labels {
			if label < 0 || label >= int64(c.Model.NumClasses) {
				return nil, fmt.Errorf("%s: class %d in arr_1 is not one of the network's %d", path, label, c.Model.NumClasses)
			}
		}
	}
	return l, nil
}

// latentsName returns the name of a file of latents.
func latentsName(l inference.Latents) string {
	return fmt.Sprintf("latents_%dx%dx%dx%d.npz", l.Shape[0], l.Shape[1], l.Shape[2], l.Shape[3])
}

// saveLatents writes latents as readLatents reads them.
func saveLatents(path string, l inference.Latents) error {
	values, err := npy.New(l.Values, l.Shape...)
	if err != nil {
		return err
	}
	arrays := []npy.Named{{Array: values}}
	if len(l.Labels) > 0 {
		labels, err := npy.New(l.Labels)
		if err != nil {
			return err
		}
		arrays = append(arrays, npy.Named{Array: labels})
	}
	return cli.WriteError(path, npy.WriteNPZFile(path, arrays...))
}
