package engine

import (
	"github.com/wangkuiyi/gotorch"

	"iddpm/streams"
)

// dropClasses returns the labels of this process's images, each replaced by the null class with
// probability [model.Config.ClassDropout]. The random numbers depend only on (seed, step, index in
// the global batch).
func (e *Engine) dropClasses(labels []int64) []int64 {
	m := e.options.Model
	if !m.HasNullClass() || len(labels) == 0 {
		return labels
	}
	key := gotorch.PhiloxKey{Seed: e.seed(), Stream: streams.ClassDropout, Step: uint32(e.step), FirstSample: int64(e.first())}
	dropped := make([]int64, len(labels))
	for i, u := range gotorch.PhiloxUniform(gotorch.Device{}, gotorch.Double, key, int64(len(labels)), 1).Float64s() {
		if dropped[i] = labels[i]; u < m.ClassDropout {
			dropped[i] = int64(m.NumClasses)
		}
	}
	return dropped
}
