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

// At returns the timesteps t, one per image, 0 <= t < T.
func (d *GaussianDiffusion) At(t []int64) Timesteps {
	steps := gotorch.FromInt64s(t)
	if d.device.Type == gotorch.CUDA {
		// A synchronous copy, or one from pageable memory, may wait for all queued work.
		steps = steps.PinMemory().CUDA(d.device, true)
	}
	return d.AtTensor(steps, t)
}

// AtTensor is At for timesteps that are on the device already, an int64 tensor [N].
// host is a copy of them, or nil if the host does not know them (a captured graph is
// replayed with other timesteps). With a copy, terms that no t needs are not computed.
func (d *GaussianDiffusion) AtTensor(t gotorch.Tensor, host []int64) Timesteps {
	d.checkSteps(host)
	return d.withCoefficients(Timesteps{host: host, onDevice: t}, t.Numel())
}

// AtStep returns one timestep t for a batch of n images, without a host-to-device
// copy.
func (d *GaussianDiffusion) AtStep(t int, n int64) Timesteps {
	host := []int64{int64(t)}
	d.checkSteps(host)
	return d.withCoefficients(Timesteps{host: host}, n)
}

// atDeviceStep is AtStep for a timestep on the device, an int64 tensor [1].
func (d *GaussianDiffusion) atDeviceStep(t gotorch.Tensor, n int64) Timesteps {
	return d.withCoefficients(Timesteps{onDevice: t}, n)
}

// before returns the timestep t-1 for n images, where t is one timestep above 0.
func (d *GaussianDiffusion) before(t Timesteps, n int64) Timesteps {
	if t.host != nil {
		return d.AtStep(int(t.host[0])-1, n)
	}
	return d.atDeviceStep(t.onDevice.Sub(gotorch.FullOn(d.device, gotorch.Long, 1, 1), 1), n)
}

// withCoefficients gathers the coefficients of n images.
func (d *GaussianDiffusion) withCoefficients(t Timesteps, n int64) Timesteps {
	t.rows = t.extractRows(d.table)
	t.scaled = t.rows.Select(1, int64(scaledTimestep)).Expand(n)
	return t
}

// Scaled returns the timesteps that the network receives, float32 [N].
func (t Timesteps) Scaled() gotorch.Tensor { return t.scaled }

func (d *GaussianDiffusion) checkSteps(host []int64) {
	for _, t := range host {
		if t < 0 || t >= int64(d.NumTimesteps()) {
			refuse("Timesteps", "step %d is not one of 0 to %d", t, d.NumTimesteps()-1)
		}
	}
}

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
