package model

import "testing"

// TestStepBytes counts by hand, in values per pixel, the memory of one additional image
// for a network with one resolution: a convolution; a residual block; the middle block;
// two decoder blocks that concatenate 32 channels of the encoder; the last norm and
// convolution.
func TestStepBytes(t *testing.T) {
	u := UNetConfig{InChannels: 3, ModelChannels: 32, OutChannels: 6, NumResBlocks: 1, ChannelMult: []float64{1}, NumHeads: 1}
	m, err := Plan(u)
	if err != nil {
		t.Fatal(err)
	}
	const (
		images    = 3 * 4 // image, noise, x_t, and x_t in the compute dtype
		conv      = 32
		res       = 32 + 4*32           // norm; convolution, norm, convolution, sum
		attention = 7*32 + 1            // norm, q k v, attention and its log-sum-exp, projection, sum
		decoder   = 64 + 64 + 4*32 + 32 // concatenated input and its norm; as above; skip convolution
		last      = 32 + 6
		all       = images + conv + res + (res + attention + res) + 2*decoder + last
		// The peak of the gradients is in the middle block's attention: 7 times its channels,
		// plus the gradients of two skip connections.
		gradients = 7*32 + 2*32
		// With checkpointing a block's result is kept, and its other outputs are recomputed.
		kept = images + conv + 32 + 3*32 + 2*32 + last
	)
	for _, c := range []struct {
		s    StepMemory
		want int64 // bytes per pixel
	}{
		{StepMemory{ElementBytes: 4}, 4 * (all + gradients)},
		{StepMemory{ElementBytes: 4, Checkpointing: true}, 4 * (kept + attention + gradients)},
		// In 16 bits, image, noise, x_t, log-sum-exp and the last layers stay in float32, and the last norm's input is cast.
		{StepMemory{ElementBytes: 2, WorkingWeights: true}, 2*(all+gradients) + 2*(9+1+last) + 4*32},
	} {
		bytes := func(images int) int64 {
			s := c.s
			s.Images, s.ImageSize = images, 8
			return m.StepBytes(s)
		}
		if got := bytes(1001) - bytes(1000); got != 64*c.want {
			t.Errorf("%+v: one additional image needs %d bytes, want %d", c.s, got, 64*c.want)
		}
	}
}

// TestStepBytesOfResampling counts likewise for a network of two resolutions whose residual
// blocks resample: such a block also stores its input and the norm of it, resampled.
func TestStepBytesOfResampling(t *testing.T) {
	u := UNetConfig{InChannels: 3, ModelChannels: 32, OutChannels: 6, NumResBlocks: 1, ChannelMult: []float64{1, 1}, NumHeads: 1, ResBlockUpDown: true}
	m, err := Plan(u)
	if err != nil {
		t.Fatal(err)
	}
	const (
		images    = 3 * 4
		conv      = 32
		res       = 32 + 4*32
		down      = 32 + 2*8 + 4*8
		attention = 7*32 + 1
		decoder   = 64 + 64 + 4*32 + 32
		up        = 8 + 2*32 + 4*32
		last      = 32 + 6
		all       = images + conv + res + down + (res+(res+attention+res)+2*decoder)/4.0 + up + 2*decoder + last
		gradients = 3*64 + 32 // of the last decoder block but one, and a skip connection
	)
	bytes := func(images int) int64 { return m.StepBytes(StepMemory{Images: images, ImageSize: 8, ElementBytes: 4}) }
	if got := bytes(1001) - bytes(1000); got != int64(64*4*(all+gradients)) {
		t.Errorf("one additional image needs %d bytes, want %d", got, int64(64*4*(all+gradients)))
	}
}

// TestStepBytesOfWeights checks the part that is independent of the batch size.
func TestStepBytesOfWeights(t *testing.T) {
	u := UNetConfig{InChannels: 3, ModelChannels: 128, OutChannels: 6, NumResBlocks: 1, ChannelMult: []float64{1, 4}, NumHeads: 1}
	m, err := Plan(u)
	if err != nil {
		t.Fatal(err)
	}
	bytes := func(s StepMemory) float64 {
		s.Images, s.ImageSize = 1, 4
		return float64(m.StepBytes(s)) / float64(m.NumParameters())
	}
	// Gradients of all weights, most of them in 16 bits with working weights, plus the projections' weights once more.
	for name, c := range map[string]struct {
		s           StepMemory
		least, most float64
	}{
		"float32":                   {StepMemory{ElementBytes: 4}, 4, 5},
		"working weights":           {StepMemory{ElementBytes: 2, WorkingWeights: true}, 2, 3.2},
		"casts":                     {StepMemory{ElementBytes: 2}, 7.9, 9},
		"sums in float32":           {StepMemory{ElementBytes: 4, Accumulates: true}, 4, 6},
		"sums over working weights": {StepMemory{ElementBytes: 2, WorkingWeights: true, Accumulates: true}, 9, 10},
		"casts and sums":            {StepMemory{ElementBytes: 2, Accumulates: true}, 9.9, 13},
	} {
		if got := bytes(c.s); got < c.least || got > c.most {
			t.Errorf("%s: %.2f bytes per parameter, want %g to %g", name, got, c.least, c.most)
		}
	}
}

// TestRecomputedMACs subtracts the layers that are not recomputed from MACs.
func TestRecomputedMACs(t *testing.T) {
	u := UNetConfig{InChannels: 3, ModelChannels: 32, OutChannels: 6, NumResBlocks: 1, ChannelMult: []float64{1, 2}, NumHeads: 1}
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

// TestStepBytesOfClassifiers counts likewise for a classifier of two resolutions with each
// pooling.
func TestStepBytesOfClassifiers(t *testing.T) {
	const (
		images  = 3 * 4
		conv    = 64
		res     = 64 + 4*64
		down    = 64 + 2*16 + 4*16
		middle  = (2*res + 7*64 + 1) / 4.0
		encoder = images + conv + res + down + res/4.0 + middle
		results = (2*64 + 3*16) / 64.0 // of all blocks, per channel and pixel
		// The peak of the gradients is in the block that halves the resolution: 3 times its input, and
		// with spatial pooling the gradients of two earlier feature maps.
		blocks = 3 * 64
		tokens = 64 * (4*4 + 1) / 64.0
		mlp    = 2 * (5*64 + 2048) / 64.0
	)
	for pool, want := range map[string]float64{
		PoolAdaptive:  encoder + 64/4.0 + blocks,
		PoolAttention: encoder + 64/4.0 + 6*tokens + 17/64.0 + blocks,
		PoolSpatial:   encoder + mlp + max(64*results+mlp, 2*64+blocks),
	} {
		c := EncoderConfig{UNetConfig: UNetConfig{InChannels: 3, ModelChannels: 64, OutChannels: 10, NumResBlocks: 1, ChannelMult: []float64{1, 1}, NumHeads: 1, NumHeadChannels: 64, ResBlockUpDown: true}, ImageSize: 8, Pool: pool}
		m, err := PlanClassifier(c)
		if err != nil {
			t.Fatal(err)
		}
		bytes := func(images int) int64 { return m.StepBytes(StepMemory{Images: images, ImageSize: 8, ElementBytes: 4}) }
		if got := float64(bytes(1001)-bytes(1000)) / 256; got != want {
			t.Errorf("%s: one additional image needs %.4f values per pixel, want %.4f", pool, got, want)
		}
		// A gradient by the image needs the same activations, and no gradients of weights.
		if got := float64(m.GradientBytes(1001, 8, 4)-m.GradientBytes(1000, 8, 4)) / 256; got != want {
			t.Errorf("%s: the gradient of one additional image needs %.4f values per pixel, want %.4f", pool, got, want)
		}
		if step, gradient := bytes(1), m.GradientBytes(1, 8, 4); gradient >= step {
			t.Errorf("%s: a gradient by one image needs %d bytes, a training step %d", pool, gradient, step)
		}
	}
}
