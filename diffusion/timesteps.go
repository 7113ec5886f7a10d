package diffusion

import (
	"fmt"
	"slices"

	"github.com/wangkuiyi/gotorch"
)

// Timesteps are the timesteps t of a batch with their coefficients. Its tensors belong
// to the scope in which it was created.
type Timesteps struct {
	host     []int64        // [N], or one timestep for the whole batch; nil if only the device has them
	onDevice gotorch.Tensor // the same, int64 on the device; undefined if only the host has them
	scaled   gotorch.Tensor // [N] float32, the timesteps that the network receives: the reference's _scale_timesteps
	rows     gotorch.Tensor // the rows of GaussianDiffusion.table at t: [N, ...], or [1, ...] for one timestep
}

// Scaled returns the timesteps that the network receives, float32 [N].
func (t Timesteps) Scaled() gotorch.Tensor { return t.scaled }

// extractRows returns the rows of a table [T, columns] at t: [N, columns], or [1,
// columns] for one timestep. There is no host-to-device copy.
func (t Timesteps) extractRows(table gotorch.Tensor) gotorch.Tensor {
	if !t.onDevice.Defined() {
		return table.Narrow(0, t.host[0], 1)
	}
	return table.IndexSelect(0, t.onDevice)
}

// extract returns one coefficient, [N, 1, 1, 1] or [1, 1, 1, 1]: the reference's
// _extract_into_tensor.
func (t Timesteps) extract(c coefficient) gotorch.Tensor {
	if c < 0 {
		return t.extract(-c).Neg()
	}
	return t.rows.Narrow(1, int64(c), 1).View(-1, 1, 1, 1)
}

// qSampleRows returns the rows of gotorch.DiffusionQSample, one per image.
func (t Timesteps) qSampleRows(n int64) gotorch.Tensor {
	return t.rows.Narrow(1, int64(sqrtAlphasCumprod), gotorch.QSampleColumns).Expand(n, gotorch.QSampleColumns)
}

// lossRows returns the rows of gotorch.DiffusionLosses, one per image.
func (t Timesteps) lossRows(n int64) gotorch.Tensor {
	return t.rows.Narrow(1, int64(numCoefficients), gotorch.LossColumns).Expand(n, gotorch.LossColumns)
}

// mayIncludeZero reports whether some t may be 0. It is true if the host does not know
// them.
func (t Timesteps) mayIncludeZero() bool {
	return t.host == nil || slices.Contains(t.host, 0)
}

// mayIncludeNonzero reports whether some t may be above 0.
func (t Timesteps) mayIncludeNonzero() bool {
	return t.host == nil || slices.ContainsFunc(t.host, func(t int64) bool { return t != 0 })
}

// lossWeights returns the weights of L_simple, [n].
func (t Timesteps) lossWeights(n int64) gotorch.Tensor {
	return t.rows.Select(1, int64(numCoefficients)+gotorch.LossColumns).Expand(n)
}

// refuse panics with a *gotorch.Error, as gotorch's operators do.
func refuse(op, format string, a ...any) {
	panic(&gotorch.Error{Op: "diffusion." + op, Message: fmt.Sprintf(format, a...)})
}

func mustMatch(op, name string, got, want gotorch.Tensor) {
	if g, w := got.Shape(), want.Shape(); !slices.Equal(g, w) {
		refuse(op, "%s is %v, want %v", name, g, w)
	}
}
