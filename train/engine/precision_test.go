package engine

import (
	"testing"

	"github.com/wangkuiyi/gotorch"
)

// The automatic precision is one that the GPU has tensor cores for.
func TestAutomaticPrecision(t *testing.T) {
	for _, c := range []struct {
		name         string
		major, minor int
		want         string
	}{
		{"NVIDIA H100 80GB HBM3", 9, 0, "bf16"},
		{"NVIDIA RTX A500 Laptop GPU", 8, 6, "bf16"},
		{"NVIDIA A100-SXM4-40GB", 8, 0, "bf16"},
		{"Tesla T4", 7, 5, "fp16"},
		{"NVIDIA T4G", 7, 5, "fp16"},
		{"NVIDIA GeForce RTX 2080 Ti", 7, 5, "fp16"},
		{"Quadro RTX 6000", 7, 5, "fp16"},
		{"NVIDIA TITAN RTX", 7, 5, "fp16"},
		{"NVIDIA GeForce GTX 1660 SUPER", 7, 5, "fp32"},
		{"NVIDIA T400 4GB", 7, 5, "fp32"},
		{"NVIDIA T1000", 7, 5, "fp32"},
		{"NVIDIA GeForce MX450", 7, 5, "fp32"},
	} {
		if got := automaticPrecision(gotorch.CUDAProperties{Name: c.name, Major: c.major, Minor: c.minor}); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// A precision asks for TF32 on GPUs only, and fp32 excludes it.
func TestPrecisionTF32(t *testing.T) {
	gpu := gotorch.Device{Type: gotorch.CUDA}
	for name, want := range map[string]gotorch.TF32{
		"fp32": gotorch.TF32Never, "tf32": gotorch.TF32Always, "bf16": gotorch.TF32Always, "fp16": gotorch.TF32Always,
	} {
		if got := Precisions[name].TF32(gpu); got != want {
			t.Errorf("%s on a GPU: %v, not %v", name, got, want)
		}
		if got := Precisions[name].TF32(gotorch.Device{}); got != gotorch.TF32Convolutions {
			t.Errorf("%s on the CPU: %v, not libtorch's default", name, got)
		}
	}
}
