package engine

import (
	"fmt"
	"regexp"

	"github.com/wangkuiyi/gotorch"
)

// Precision is the number type of the network's activations. Master weights and optimizer
// state are always float32.
type Precision struct {
	Dtype  gotorch.DType // of activations
	tf32   bool          // on CUDA, allow TensorFloat-32 in float32 matrix multiplications and convolutions
	ampere bool          // needs a GPU of compute capability 8.0
}

// Precisions are the values of Options.Precision.
var Precisions = map[string]Precision{
	"auto": {},
	"fp32": {Dtype: gotorch.Float},
	"tf32": {Dtype: gotorch.Float, tf32: true, ampere: true},
	"bf16": {Dtype: gotorch.BFloat16, tf32: true, ampere: true},
	"fp16": {Dtype: gotorch.Half, tf32: true},
}

// AutomaticPrecision replaces "auto" by the device's best precision: bf16 if the hardware
// multiplies bfloat16, fp16 on a GPU whose tensor cores support only float16, else fp32.
func AutomaticPrecision(name string, device gotorch.Device) string {
	if name != "auto" && name != "" {
		return name
	}
	if device.Type == gotorch.CUDA {
		return automaticPrecision(gotorch.GetCUDAProperties(device))
	}
	if gotorch.CPUHasBFloat16() {
		return "bf16"
	}
	return "fp32"
}

// turingTensorCores matches the Turing GPUs with tensor cores, eight times as fast in
// float16 as in float32: the RTX cards and the T4. Turing's GTX 16, T400 to T2000 and MX have
// none.
var turingTensorCores = regexp.MustCompile(`\b(RTX|T4G?)\b`)

// automaticPrecision returns the precision of "auto" on a GPU. On Turing that is float16, in
// which the paper's networks were trained, with dynamic loss scaling.
func automaticPrecision(gpu gotorch.CUDAProperties) string {
	switch {
	case gpu.AtLeast(8, 0):
		return "bf16"
	case turingTensorCores.MatchString(gpu.Name):
		return "fp16"
	}
	return "fp32"
}

// PrecisionError says that a GPU does not support a precision's number type.
type PrecisionError struct {
	Precision string
	Device    gotorch.Device
	GPU       gotorch.CUDAProperties
}

func (e *PrecisionError) Error() string {
	instead := "fp32"
	if e.Precision == "bf16" {
		instead = "fp16 or fp32"
	}
	return fmt.Sprintf("precision %s needs a GPU of compute capability 8.0 (Ampere) or newer, and %s, %s, has %d.%d: use %s",
		e.Precision, e.Device, e.GPU.Name, e.GPU.Major, e.GPU.Minor, instead)
}

// ResolvePrecision resolves "auto", and returns a [*PrecisionError] if the device does not
// support the precision.
func ResolvePrecision(name string, device gotorch.Device) (string, error) {
	name = AutomaticPrecision(name, device)
	p, ok := Precisions[name]
	if !ok {
		return name, fmt.Errorf("precision %q is not one of auto, fp32, tf32, bf16, fp16", name)
	}
	if device.Type != gotorch.CUDA || !p.ampere {
		return name, nil
	}
	if gpu := gotorch.GetCUDAProperties(device); !gpu.AtLeast(8, 0) {
		return name, &PrecisionError{Precision: name, Device: device, GPU: gpu}
	}
	return name, nil
}

// bytes returns the size of an element of the compute dtype.
func (p Precision) bytes() int64 {
	if p.Dtype == gotorch.Float {
		return 4
	}
	return 2
}

// hasWorkingWeights reports whether there are 16-bit working weights in addition to the
// master weights: see core.syncWorkingWeights.
func (p Precision) hasWorkingWeights() bool { return p.Dtype == gotorch.BFloat16 }

// TF32 returns the setting of [gotorch.Settings] for the precision on a device.
func (p Precision) TF32(device gotorch.Device) gotorch.TF32 {
	switch {
	case device.Type != gotorch.CUDA:
		return gotorch.Settings{}.TF32
	case p.tf32:
		return gotorch.TF32Always
	}
	return gotorch.TF32Never
}

// InferencePrecision returns what a precision of [Options] means for inference on a device: the
// dtype of the network's activations, and the setting for [gotorch.Settings].
func InferencePrecision(name string, device gotorch.Device) (dtype gotorch.DType, tf32 gotorch.TF32, err error) {
	if name, err = ResolvePrecision(name, device); err != nil {
		return 0, 0, err
	}
	p := Precisions[name]
	return p.Dtype, p.TF32(device), nil
}
