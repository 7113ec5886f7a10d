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
			u, err := test.config.UNet()
			if err != nil {
				t.Fatal(err)
			}
			network, err := Plan(u)
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
