package diffusers

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/wangkuiyi/gotorch"
	"github.com/wangkuiyi/gotorch/pt"

	"iddpm/model"
)

// timestepTable returns the timestep embeddings of all T timesteps, scaled to [0, 1000): float32
// [T, channels]. It needs libtorch.
func timestepTable(steps, channels int, shift float64) (table *pt.Tensor, err error) {
	err = gotorch.Try(func() {
		gotorch.Run(func() {
			gotorch.Scope(func() {
				t := gotorch.ArangeOn(gotorch.Device{}, gotorch.Float, 0, float64(steps), 1).MulScalar(1000 / float64(steps))
				table = model.TimestepEmbedding(t, int64(channels), shift).PT()
			})
		})
	})
	return table, err
}

// checkTable returns an error unless the table of a learned timestep embedding is the sinusoid, to the
// precision of the type that it was saved in.
func checkTable(table *pt.Tensor, steps, channels int, shift float64) error {
	const tolerance = 1e-4
	if table == nil {
		return fmt.Errorf("missing: %s, the table of the learned timestep embedding", timestepWeights)
	}
	if !slices.Equal(table.Shape, []int64{int64(steps), int64(channels)}) || table.DType != pt.Float32 {
		return unsupported("time_embedding_type", "learned, whose table is %v of %v, not %d rows of %d channels of float32", table.Shape, table.DType, steps, channels)
	}
	want, err := timestepTable(steps, channels, shift)
	if err != nil {
		return err
	}
	for i := 0; i < len(want.Data); i += 4 {
		a, b := math.Float32frombits(binary.LittleEndian.Uint32(table.Data[i:])), math.Float32frombits(binary.LittleEndian.Uint32(want.Data[i:]))
		if !(math.Abs(float64(a-b)) <= tolerance) {
			return unsupported("time_embedding_type", "learned, and its table is not the sinusoid of scaled timesteps: it has been trained, and networks here have no such table")
		}
	}
	return nil
}
