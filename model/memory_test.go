package model

import "testing"

func TestActivations(t *testing.T) {
	u := UNetConfig{InChannels: 3, ModelChannels: 32, OutChannels: 6, NumResBlocks: 1, ChannelMult: []int{1}, NumHeads: 1}
	plan := func(u UNetConfig) *UNet {
		m, err := Plan(u)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	// Per pixel: the first convolution; a residual block; two of them and
	// attention in the middle; two blocks that take twice the channels on the way
	// up; the last norm and convolution. A norm and its SiLU keep one input.
	perPixel := int64(3 + 4*32 + (2*4*32 + 7*32) + 2*(2*64+2*32) + 2*32)
	if got := plan(u).Activations(8, false); got != 64*perPixel {
		t.Errorf("%d values, want %d", got, 64*perPixel)
	}
	// Checkpointing keeps each layer's input once, and the largest block, the middle, whole.
	inputs, middle := int64(3+32+(32+32+32)+2*32+32), int64(2*4*32+7*32)
	if got, want := plan(u).Activations(8, true), 64*(inputs+middle); got != want {
		t.Errorf("with checkpointing %d values, want %d", got, want)
	}
	u.ChannelMult, u.AttentionResolutions = []int{1, 2, 2}, []int{2}
	whole := plan(u).Activations(32, false)
	if got := plan(u).Activations(64, false); got != 4*whole {
		t.Errorf("four times the pixels take %d values, not four times %d", got, whole)
	}
	if got := plan(u).Activations(32, true); got <= 0 || got > whole/2 {
		t.Errorf("checkpointing keeps %d of %d values", got, whole)
	}
}

// TestRecomputedMACs leaves out what stands beside the blocks.
func TestRecomputedMACs(t *testing.T) {
	u := UNetConfig{InChannels: 3, ModelChannels: 32, OutChannels: 6, NumResBlocks: 1, ChannelMult: []int{1, 2}, NumHeads: 1}
	m, err := Plan(u)
	if err != nil {
		t.Fatal(err)
	}
	const first, last, embed = 16 * 16 * 9 * 3 * 32, 16 * 16 * 9 * 32 * 6, 32*128 + 128*128
	const down, up = 8 * 8 * 9 * 32 * 32, 16 * 16 * 9 * 64 * 64
	if got, want := m.RecomputedMACs(16), m.MACs(16)-first-last-embed-down-up; got != want {
		t.Errorf("%d operations, want %d", got, want)
	}
}
