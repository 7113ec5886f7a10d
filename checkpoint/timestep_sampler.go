package checkpoint

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/wangkuiyi/gotorch/pt"

	"iddpm/diffusion"
)

// packSampler writes the state of a timestep sampler as two tensors: the loss history, float64
// [T x history], and the counts, int64 [T]. It is exact, since the next timesteps depend on
// the last bit.
func packSampler(state diffusion.SamplerState) *pt.Dict {
	history, counts := make([]byte, 0, 8*len(state.LossHistory)), make([]byte, 0, 8*len(state.LossCounts))
	for _, v := range state.LossHistory {
		history = binary.LittleEndian.AppendUint64(history, math.Float64bits(v))
	}
	for _, v := range state.LossCounts {
		counts = binary.LittleEndian.AppendUint64(counts, uint64(v))
	}
	return dictOf(
		"loss_history", &pt.Tensor{DType: pt.Float64, Shape: []int64{int64(len(state.LossHistory))}, Data: history},
		"loss_counts", &pt.Tensor{DType: pt.Int64, Shape: []int64{int64(len(state.LossCounts))}, Data: counts},
	)
}

func unpackSampler(dict *pt.Dict) (state diffusion.SamplerState, err error) {
	f := fields{dict: dict}
	history, counts := f.tensor("loss_history"), f.tensor("loss_counts")
	if f.err != nil {
		return state, f.err
	}
	if history.DType != pt.Float64 || counts.DType != pt.Int64 {
		return state, fmt.Errorf("loss_history is %s and loss_counts %s, not float64 and int64", history.DType, counts.DType)
	}
	for data := history.Data; len(data) > 0; data = data[8:] {
		state.LossHistory = append(state.LossHistory, math.Float64frombits(binary.LittleEndian.Uint64(data)))
	}
	for data := counts.Data; len(data) > 0; data = data[8:] {
		state.LossCounts = append(state.LossCounts, int64(binary.LittleEndian.Uint64(data)))
	}
	return state, nil
}
