package train

import (
	"testing"

	"github.com/wangkuiyi/gotorch"

	"iddpm/runconfig"
)

// The shapes of the products' tensors give the MACs of the network's list, and a run leaks no
// tensors.
func TestBenchProducts(t *testing.T) {
	c := runconfig.Defaults()
	c.Model.ImageSize, c.Model.NumChannels, c.Model.NumResBlocks, c.Model.ChannelMult = 8, 32, 1, []float64{1, 2}
	c.Model.AttentionResolutions = []int{4}
	c.Train.BatchSize, c.Train.Microbatch, c.Train.Precision = 4, 3, "bf16"
	b, err := NewBench(c, gotorch.Device{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := b.Products(); err != nil {
		t.Fatal(err)
	}
	total := int64(0)
	gotorch.Run(func() {
		gotorch.Scope(func() {
			for _, list := range b.products.microbatches {
				for _, p := range list {
					result, s := p.forward(), p.other.Shape()
					macs := result.Numel() * s[1] // [O, I] of a linear layer, [B, K, N] of attention
					if len(s) == 4 {
						macs *= s[2] * s[3]
					}
					if macs != p.MACs {
						t.Errorf("%v with %v: %d MACs, want %d", p.Input, s, macs, p.MACs)
					}
					if (result.Dtype() == gotorch.BFloat16) != p.Half {
						t.Errorf("%v with %v: computed in %s", p.Input, s, result.Dtype())
					}
					total += 2 * p.TrainingMACs()
				}
			}
		})
	})
	if total != b.StepFLOPs() {
		t.Errorf("%d FLOPs, want %d", total, b.StepFLOPs())
	}
	live := gotorch.LiveTensors()
	if err := b.Products(); err != nil {
		t.Fatal(err)
	}
	if now := gotorch.LiveTensors(); now > live { // other tests' may die meanwhile
		t.Errorf("%d tensors, there were %d", now, live)
	}
}
