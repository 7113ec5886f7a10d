package runconfig

import (
	"math"
	"strings"
	"testing"
)

// TestValidateNumbers sets each number to a value out of range, NaN or infinite.
func TestValidateNumbers(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"lr must be a number above 0":     func(c *Config) { c.Train.LR = math.Inf(1) },
		"weight-decay must be a number":   func(c *Config) { c.Train.WeightDecay = math.Inf(1) },
		"weight-decay must be a number, ": func(c *Config) { c.Train.WeightDecay = math.NaN() },
		"grad-clip must be a number":      func(c *Config) { c.Train.GradClip = math.Inf(1) },
		"dropout must be in [0, 1)":       func(c *Config) { c.Model.Dropout = math.NaN() },
		"threads must not be negative":    func(c *Config) { c.Train.Threads = -1 },
		"max-bad-images must not be":      func(c *Config) { c.Data.MaxBadImages = -1 },
		"ema-rate must be in [0, 1)":      func(c *Config) { c.Train.EMARates = []float64{math.NaN()} },
		"microbatch 9 is larger":          func(c *Config) { c.Train.BatchSize, c.Train.Microbatch = 8, 9 },
	} {
		c := Defaults()
		if err := c.Validate(); err != nil {
			t.Fatal(err)
		}
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v lacks %q", err, want)
		}
	}
}
