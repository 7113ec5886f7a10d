package diffusers

import (
	"github.com/wangkuiyi/gotorch"
	"github.com/wangkuiyi/gotorch/pt"

	"iddpm/model"
)

// timestepTable returns the timestep embeddings of all T timesteps, scaled to [0, 1000): float32
// [T, channels]. It needs libtorch.
func timestepTable(steps, channels int) (table *pt.Tensor, err error) {
	err = gotorch.Try(func() {
		gotorch.Run(func() {
			gotorch.Scope(func() {
				t := gotorch.ArangeOn(gotorch.Device{}, gotorch.Float, 0, float64(steps), 1).MulScalar(1000 / float64(steps))
				table = model.TimestepEmbedding(t, int64(channels)).PT()
			})
		})
	})
	return table, err
}
