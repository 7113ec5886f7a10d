package model

import (
	"slices"
	"testing"

	"github.com/wangkuiyi/gotorch"
)

// TestSegmentsRetainGraph: the backward pass in segments has the same gradients as the
// whole one, to the bit, and each gradient is complete when it first appears.
func TestSegmentsRetainGraph(t *testing.T) {
	for name, change := range kinds {
		for _, dtype := range []gotorch.DType{gotorch.Float, gotorch.BFloat16} {
			t.Run(name+" "+dtype.String(), func(t *testing.T) {
				network := newTrainable(t, change)
				defer network.Free()
				segments, seen, done := &Segments{RetainGraph: true}, map[int][]float32{}, 0
				onSegmentDone := func() {
					done++
					for k, p := range network.Tensors() {
						if g := p.Grad(); g.Defined() && seen[k] == nil {
							seen[k] = g.Float32s()
						}
					}
				}
				out, grads := gradients(t, network, nil, dtype)
				again, whole := gradientsOf(t, network, network.Forward, segments, dtype, onSegmentDone)
				if !slices.Equal(out, again) {
					t.Error("the outputs differ")
				}
				for k, p := range network.Parameters() {
					if !slices.Equal(grads[k], whole[k]) {
						t.Errorf("%s: the gradients differ", p.Name)
					}
					if !slices.Equal(whole[k], seen[k]) {
						t.Errorf("%s: its gradient was not complete when it first appeared", p.Name)
					}
				}
				if done < 10 {
					t.Errorf("the backward pass had %d segments", done)
				}
			})
		}
	}
}

// TestCheckpointing compares gradient checkpointing with plain backpropagation,
// including dropout: the recomputed masks must be the same.
func TestCheckpointing(t *testing.T) {
	for name, change := range kinds {
		t.Run(name, func(t *testing.T) {
			gotorch.Scope(func() {
				network := newTrainable(t, change)
				out, grads := gradients(t, network, nil, gotorch.Float)
				outCheckpointed, gradsCheckpointed := gradients(t, network, new(Segments), gotorch.Float)
				for i := range out {
					if out[i] != outCheckpointed[i] {
						t.Fatalf("output %d: %v with checkpointing, %v without", i, outCheckpointed[i], out[i])
					}
				}
				for k, p := range network.Parameters() {
					if d, largest := distance(grads[k], gradsCheckpointed[k]); d > 1e-4*largest+1e-4 {
						t.Errorf("%s: gradients differ by %g of %g", p.Name, d, largest)
					}
				}
			})
		})
	}
}
