package model

import (
	"errors"
	"os"
	"os/exec"
	"testing"

	"github.com/wangkuiyi/gotorch"
)

// TestEvaluationBytes compares with the peak of the CPU's allocator, each case in a process of its own
// since the peak is that of the whole process.
func TestEvaluationBytes(t *testing.T) {
	for name, c := range map[string]struct {
		dtype        gotorch.DType
		elementBytes int64
		upDown       bool
		least, most  float64 // estimate / peak
	}{
		"float32":  {dtype: gotorch.Float, elementBytes: 4, least: 0.98, most: 1.02},
		"bfloat16": {dtype: gotorch.BFloat16, elementBytes: 2, least: 0.98, most: 1.02},
		// A GPU stores the upsampled input of a convolution, a CPU does not.
		"residual blocks that resample": {dtype: gotorch.Float, elementBytes: 4, upDown: true, least: 1, most: 1.15},
	} {
		t.Run(name, func(t *testing.T) {
			if os.Getenv("EVALUATION_BYTES") == "" {
				child := exec.Command(os.Args[0], "-test.run=^TestEvaluationBytes$/^"+name+"$", "-test.count=1")
				child.Env = append(os.Environ(), "EVALUATION_BYTES=1")
				if out, err := child.CombinedOutput(); err != nil {
					t.Errorf("%v: %s", err, out)
				}
				return
			}
			const n, size = 8, 32
			u := UNetConfig{
				InChannels: 3, ModelChannels: 32, OutChannels: 6, NumResBlocks: 2, ChannelMult: []float64{1, 2, 2}, NumHeads: 4,
				AttentionResolutions: []int{4}, UseScaleShiftNorm: true, ResBlockUpDown: c.upDown,
			}
			estimate, peak, err := evaluationPeak(u, n, size, c.dtype, c.elementBytes)
			if err != nil {
				t.Fatal(err)
			}
			if ratio := float64(estimate) / float64(peak); ratio < c.least || ratio > c.most {
				t.Errorf("estimated %d bytes, the peak is %d: %.3f times, want %g to %g", estimate, peak, ratio, c.least, c.most)
			}
		})
	}
}

// evaluationPeak returns the estimated memory of an evaluation, and the peak of the CPU's allocator.
func evaluationPeak(u UNetConfig, n, size int, dtype gotorch.DType, elementBytes int64) (estimate, peak int64, err error) {
	gotorch.Run(func() {
		var m *UNet
		if m, err = New(u, 0); err != nil {
			return
		}
		defer m.Free()
		m.Freeze(dtype)
		estimate = m.EvaluationBytes(n, size, elementBytes)
		before := gotorch.GetCPUMemoryStats()
		err = gotorch.Try(func() {
			gotorch.NoGrad(func() {
				gotorch.Scope(func() {
					x := gotorch.ZerosOn(gotorch.Device{}, gotorch.Float, int64(n), 3, int64(size), int64(size))
					m.Forward(x, gotorch.FromFloat32s(make([]float32, n), int64(n)), Input{Dtype: dtype})
				})
			})
		})
		after := gotorch.GetCPUMemoryStats()
		peak = after.PeakAllocated - before.Allocated
		if after.PeakAllocated == before.PeakAllocated {
			err = errors.Join(err, errors.New("the peak is that of building the network"))
		}
	})
	return estimate, peak, err
}
