package train

import "github.com/wangkuiyi/gotorch"

// precision is how the network computes; weights and optimizer state are
// float32 in all of them.
type precision struct {
	dtype int8 // of activations
	tf32  bool // on CUDA, whether float32 factors may be rounded to TensorFloat-32
}

// precisions are the values of --precision.
var precisions = map[string]precision{
	"auto": {},
	"fp32": {dtype: gotorch.Float},
	"tf32": {dtype: gotorch.Float, tf32: true},
	"bf16": {dtype: gotorch.BFloat16, tf32: true},
	"fp16": {dtype: gotorch.Half, tf32: true},
}

// ResolvePrecision turns "auto" into what suits the device: bf16 where the
// hardware multiplies bfloat16, else fp32.
func ResolvePrecision(name string, device gotorch.Device) string {
	if name != "auto" {
		return name
	}
	has := gotorch.CPUHasBFloat16
	if device.Type == gotorch.CUDA {
		has = func() bool { return gotorch.GetCUDAProperties(device).Major >= 8 } // Ampere
	}
	if has() {
		return "bf16"
	}
	return "fp32"
}

// apply sets the process's modes for a precision.
func (p precision) apply(device gotorch.Device) {
	if device.Type == gotorch.CUDA {
		gotorch.SetAllowTF32(p.tf32)
	}
}
