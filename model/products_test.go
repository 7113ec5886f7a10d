package model

import "testing"

// TestProducts compares the sum of all products with the count of PyTorch's
// torch.utils.flop_counter for the networks of improved-diffusion and guided-diffusion,
// forward and backward.
func TestProducts(t *testing.T) {
	base := Config{InChannels: 3, LearnSigma: true, AttentionResolutions: []int{16, 8}, NumHeads: 4, UseScaleShiftNorm: true}
	with := func(change func(*Config)) Config {
		c := base
		change(&c)
		return c
	}
	for _, test := range []struct {
		name              string
		config            Config
		n                 int
		forward, backward int64 // FLOPs
	}{
		{"one image", with(func(c *Config) { c.ImageSize, c.NumChannels, c.NumResBlocks = 32, 64, 1 }), 1, 2187821056, 4372070400},
		{"two images", with(func(c *Config) { c.ImageSize, c.NumChannels, c.NumResBlocks = 32, 64, 1 }), 2, 4375642112, 8744140800},
		{"64 pixels", with(func(c *Config) { c.ImageSize, c.NumChannels, c.NumResBlocks = 64, 64, 2 }), 1, 15318417408, 30622646272},
		{"class-conditional", with(func(c *Config) {
			c.ImageSize, c.NumChannels, c.NumResBlocks = 64, 32, 1
			c.NumHeads, c.NumHeadsUpsample, c.ClassCond, c.NumClasses, c.UseScaleShiftNorm = 2, 4, true, 1000, false
		}), 1, 2690867200, 5374648320},
		{"residual blocks that resample", with(func(c *Config) {
			c.ImageSize, c.NumChannels, c.NumResBlocks, c.ChannelMult = 32, 64, 1, []float64{0.5, 1, 2}
			c.NumHeadChannels, c.ResBlockUpDown, c.NewAttentionOrder = 32, true, true
		}), 2, 2005729280, 4007854080},
	} {
		t.Run(test.name, func(t *testing.T) {
			network, err := test.config.Plan()
			if err != nil {
				t.Fatal(err)
			}
			var forward, training int64
			for _, p := range network.Products(test.n, test.config.ImageSize) {
				forward += 2 * p.MACs
				training += 2 * p.TrainingMACs()
			}
			if forward != test.forward || training != test.forward+test.backward {
				t.Errorf("%d FLOPs forward and %d per step, want %d and %d", forward, training, test.forward, test.forward+test.backward)
			}
			if got := 2 * int64(test.n) * network.MACs(test.config.ImageSize); got != test.forward {
				t.Errorf("MACs returns %d FLOPs, want %d", got, test.forward)
			}
		})
	}
}

// TestClassifierProducts compares with the count of PyTorch's torch.utils.flop_counter for
// guided-diffusion's EncoderUNetModel: a forward pass, a training step, and the gradient by the image
// with frozen weights.
func TestClassifierProducts(t *testing.T) {
	for _, test := range []struct {
		pool                       string
		upDown                     bool
		n, depth                   int
		attention                  []int
		forward, training, guiding int64 // FLOPs
	}{
		{PoolAdaptive, true, 1, 1, []int{8}, 174590464, 522853888, 352687104},
		// PyTorch projects all 65 tokens of the attention, and not only the mean.
		{PoolAttention, false, 2, 1, []int{8}, 357046272 - projected, 1069303808 - 3*projected, 725562368 - 2*projected},
		{PoolSpatial, true, 1, 2, []int{8, 4}, 263430144, 789372928, 532267008},
		{PoolSpatialV2, true, 2, 1, []int{16, 8}, 403259392, 1207943168, 847085568},
	} {
		c := ClassifierConfig{
			ImageSize: 16, NumClasses: 10, Width: 64, Depth: test.depth, AttentionResolutions: test.attention, UseScaleShiftNorm: true,
			ResBlockUpDown: test.upDown, Pool: test.pool, ChannelMult: []float64{1, 2},
		}
		e, err := c.Encoder()
		if err != nil {
			t.Fatal(err)
		}
		network, err := PlanClassifier(e)
		if err != nil {
			t.Fatal(err)
		}
		var forward, training int64
		for _, p := range network.Products(test.n, 16) {
			forward += 2 * p.MACs
			training += 2 * p.TrainingMACs()
		}
		guiding := 2 * int64(test.n) * network.GradientMACs(16)
		if forward != test.forward || training != test.training || guiding != test.guiding || 2*int64(test.n)*network.MACs(16) != test.forward {
			t.Errorf("%s: %d FLOPs forward, %d per step and %d to guide; want %d, %d and %d", test.pool, forward, training, guiding, test.forward, test.training, test.guiding)
		}
	}
}

// projected are the FLOPs of 64 tokens of two images with 128 channels to 10 classes.
const projected = 2 * 2 * 64 * 128 * 10
