package model

import (
	"encoding/json"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/wangkuiyi/gotorch"
)

func TestConfigErrors(t *testing.T) {
	good := Config{ImageSize: 32, InChannels: 3, NumChannels: 32, NumResBlocks: 1, NumHeads: 4, AttentionResolutions: []int{16, 8}}
	if _, err := good.UNet(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Config){
		"image-size 33 cannot be halved 3 times": func(c *Config) { c.ImageSize, c.ChannelMult = 33, []float64{1, 2, 3, 4} },
		"image-size 48 has no default":           func(c *Config) { c.ImageSize = 48 },
		"image-size 0":                           func(c *Config) { c.ImageSize = 0 },
		"num-channels must be":                   func(c *Config) { c.NumChannels = -1 },
		"use a multiple of 32":                   func(c *Config) { c.NumChannels = 40 },
		"not divisible by 5 heads":               func(c *Config) { c.NumHeads = 5 },
		"dropout must be in [0, 1)":              func(c *Config) { c.Dropout = 1 },
		"num-res-blocks must not be below 0":     func(c *Config) { c.NumResBlocks = -1 },
		"channel-mult: 0 is not above 0":         func(c *Config) { c.ChannelMult = []float64{1, 0} },
		"num-classes above 0":                    func(c *Config) { c.ClassCond = true },
		"not divisible by 24 channels per head":  func(c *Config) { c.NumHeadChannels = 24 },
		"level 0 has 16 channels":                func(c *Config) { c.ChannelMult = []float64{0.5, 1} },
		"channel-mult: NaN is not above 0":       func(c *Config) { c.ChannelMult = []float64{1, math.NaN()} },
		"stem-channels must be in":               func(c *Config) { c.StemChannels = -1 },
		"class-dropout must be in [0, 1)":        func(c *Config) { c.ClassCond, c.NumClasses, c.ClassDropout = true, 3, 1 },
		"and 0 without class-cond":               func(c *Config) { c.ClassDropout = 0.1 },
		"attention-resolutions: 0":               func(c *Config) { c.AttentionResolutions = []int{0} },
	} {
		c := good
		change(&c)
		if _, err := c.UNet(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v lacks %q", err, want)
		}
	}
}

// TestConfigAttention: the number of heads must divide the channels of levels with
// attention and of the middle block only.
func TestConfigAttention(t *testing.T) {
	u := UNetConfig{InChannels: 3, ModelChannels: 32, OutChannels: 3, NumResBlocks: 1, ChannelMult: []float64{1, 3}, NumHeads: 3, AttentionResolutions: []int{2}}
	if err := u.Validate(); err != nil {
		t.Error(err)
	}
	u.AttentionResolutions = []int{1}
	if err := u.Validate(); err == nil {
		t.Error("32 channels with 3 heads are valid")
	}
	u.ChannelMult = nil
	if err := u.Validate(); err == nil {
		t.Error("a network without levels is valid")
	}
}

// TestNullClass: class dropout adds one row to the label embedding.
func TestNullClass(t *testing.T) {
	c := Config{ImageSize: 32, InChannels: 3, NumChannels: 32, NumHeads: 4, ClassCond: true, NumClasses: 7}
	for dropout, rows := range map[float64]int{0: 7, 0.1: 8} {
		c.ClassDropout = dropout
		u, err := c.UNet()
		if err != nil || u.NumClasses != rows || c.HasNullClass() != (rows == 8) {
			t.Errorf("class dropout %g: %d rows, null class %t, %v", dropout, u.NumClasses, c.HasNullClass(), err)
		}
		again := c
		again.NumClasses = 0
		if again.SetLabelRows(rows); again.NumClasses != 7 {
			t.Errorf("class dropout %g: %d rows are %d classes", dropout, rows, again.NumClasses)
		}
	}
}

// TestConfigOfOldCheckpoints: before residual blocks could resample, the first convolution
// had NumChannels whatever the first multiplier.
func TestConfigOfOldCheckpoints(t *testing.T) {
	for text, want := range map[string]Config{
		`{"num_channels": 32, "channel_mult": [2, 1]}`:                                                {NumChannels: 32, ChannelMult: []float64{2, 1}, NumHeadChannels: -1, StemChannels: 32},
		`{"num_channels": 32, "channel_mult": [1, 2]}`:                                                {NumChannels: 32, ChannelMult: []float64{1, 2}, NumHeadChannels: -1},
		`{"num_channels": 32, "channel_mult": null}`:                                                  {NumChannels: 32, NumHeadChannels: -1},
		`{"num_channels": 32, "channel_mult": [0.5, 1], "resblock_updown": false}`:                    {NumChannels: 32, ChannelMult: []float64{0.5, 1}},
		`{"num_channels": 32, "channel_mult": [2, 1], "resblock_updown": false, "stem_channels": 32}`: {NumChannels: 32, ChannelMult: []float64{2, 1}, StemChannels: 32},
	} {
		var got Config
		if err := json.Unmarshal([]byte(text), &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v, want %+v", text, got, err, want)
		}
		again, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		var same Config
		if err := json.Unmarshal(again, &same); err != nil || !reflect.DeepEqual(same, want) {
			t.Errorf("%s is read as %+v, %v, want %+v", again, same, err, want)
		}
	}
	if err := json.Unmarshal([]byte(`{"image_size": "x"}`), new(Config)); err == nil {
		t.Error("text is accepted as an image size")
	}
}

// TestPlan compares parameter counts with the reference's: the paper's 120M for
// ImageNet-64, and 270M class-conditional.
func TestPlan(t *testing.T) {
	for _, c := range []struct {
		channels, classes int
		parameters        int64
	}{{128, 0, 121_063_942}, {192, 1000, 273_049_350}} {
		config := Config{
			ImageSize: 64, InChannels: 3, NumChannels: c.channels, NumResBlocks: 3, NumHeads: 4, AttentionResolutions: []int{16, 8},
			LearnSigma: true, ClassCond: c.classes > 0, NumClasses: c.classes, UseScaleShiftNorm: true,
		}
		network, err := config.Plan()
		if err != nil {
			t.Fatal(err)
		}
		if got := network.NumParameters(); got != c.parameters {
			t.Errorf("%d channels: %d parameters, want %d", c.channels, got, c.parameters)
		}
	}
}

// TestLowRes checks average pooling, also if the sizes are not divisible.
func TestLowRes(t *testing.T) {
	gotorch.Scope(func() {
		if small := (Config{ImageSize: 4}).LowRes(gotorch.FromFloat32s(make([]float32, 16), 1, 1, 4, 4)); small.Defined() {
			t.Error("LowRes is defined without super-resolution")
		}
		for _, test := range []struct {
			size int64
			x    []float32
			want []float32
		}{
			{4, []float32{1, 2, 0, 0, 3, 4, 0, 8, 1, 1, 1, 1, 1, 1, -1, -1}, []float32{2.5, 2, 1, 0}},
			{3, []float32{1, 2, 3, 4, 5, 6, 7, 8, 9}, []float32{3, 4, 6, 7}}, // overlapping areas
		} {
			c := Config{ImageSize: int(test.size), SmallSize: 2}
			got := c.LowRes(gotorch.FromFloat32s(test.x, 1, 1, test.size, test.size)).Float32s()
			if !slices.Equal(got, test.want) {
				t.Errorf("%v: %v, want %v", test.x, got, test.want)
			}
		}
	})
}
