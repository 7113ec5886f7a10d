package distributed

import (
	"encoding/gob"
	"slices"
	"strings"

	"github.com/wangkuiyi/gotorch"
)

// AllReduceAsync sets every tensor to the sum over all processes of the tensor at its
// place in the list. On a GPU it runs concurrently with later kernels; on a CPU, through
// shared memory, it runs in Wait. The tensors must not be used until Wait. It panics with a
// [*gotorch.Error].
func (g *Group) AllReduceAsync(list []gotorch.Tensor) {
	if g != nil {
		g.group.AllReduceAsyncI(list)
	}
}

// Wait makes later kernels of a GPU wait for pending all-reduces, and completes those of
// tensors in host memory. It panics with a [*gotorch.Error].
func (g *Group) Wait() {
	if g != nil {
		g.group.Wait()
	}
}

// BroadcastTensors sets every tensor to rank 0's at its place in the list. It panics with
// a [*gotorch.Error].
func (g *Group) BroadcastTensors(list []gotorch.Tensor) {
	if g != nil {
		gotorch.NoGrad(func() { g.group.BroadcastI(list, 0) })
	}
}

// AllGatherTensor returns all processes' tensors, [Size, ...], by rank. They must have the
// same shape. It panics with a [*gotorch.Error].
func (g *Group) AllGatherTensor(t gotorch.Tensor) gotorch.Tensor {
	if g == nil {
		return t.Unsqueeze(0)
	}
	return g.group.AllGather(t)
}

// AllGather returns each process's value, by rank. Values are encoded by encoding/gob: of
// structs only the exported fields.
func AllGather[T any](g *Group, mine T) ([]T, error) {
	if g == nil {
		return []T{mine}, nil
	}
	encoded, encodeErr := encode(mine)
	texts, err := g.gatherTexts(encoded)
	if err == nil {
		err = encodeErr // the others must not wait for what cannot be encoded
	}
	if err != nil {
		return nil, err
	}
	all := make([]T, len(texts))
	for rank, text := range texts {
		if err := decode(text, &all[rank]); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// Broadcast returns rank 0's value, encoded as in [AllGather].
func Broadcast[T any](g *Group, mine T) (T, error) {
	if g == nil {
		return mine, nil
	}
	var encoded string
	var encodeErr error
	if g.IsLeader() {
		encoded, encodeErr = encode(mine)
	}
	var leaders T // not mine: gob omits zero fields, which would keep this process's values
	texts, err := g.gatherTexts(encoded)
	if err == nil {
		err = encodeErr
	}
	if err == nil {
		err = decode(texts[0], &leaders)
	}
	return leaders, err
}

// Barrier waits until all processes have called it.
func (g *Group) Barrier() error { return g.SyncError(nil) }

func encode(value any) (string, error) {
	var text strings.Builder
	err := gob.NewEncoder(&text).Encode(value)
	return text.String(), err
}

func decode(text string, value any) error {
	return gob.NewDecoder(strings.NewReader(text)).Decode(value)
}

// gatherTexts returns each process's text, by rank. Texts are padded to the longest.
func (g *Group) gatherTexts(mine string) (all []string, err error) {
	err = g.inScope(func() {
		lengths := g.gatherNumbers(int64(len(mine)))
		longest := slices.Max(lengths)
		padded := make([]byte, longest+1)
		copy(padded, mine)
		rows := g.group.AllGather(gotorch.FromBytes(padded, gotorch.Byte, longest+1))
		for rank, n := range lengths {
			all = append(all, string(rows.Select(0, int64(rank)).Bytes()[:n]))
		}
	})
	return all, err
}

// gatherNumbers returns each process's number, by rank, in a scope of [Group.inScope].
func (g *Group) gatherNumbers(mine int64) []int64 {
	return g.group.AllGather(gotorch.FromInt64s([]int64{mine})).Int64s()
}

// inScope runs f on the tensor thread, in a scope.
func (g *Group) inScope(f func()) error {
	return g.OnTensorThread(func() error {
		gotorch.Scope(f)
		return nil
	})
}
