package engine

import (
	"math"
	"slices"
	"testing"

	"iddpm/model"
)

func TestEMADecay(t *testing.T) {
	for _, test := range []struct {
		rate float64
		step int
		want float64
	}{
		{0.9999, 1, 2.0 / 11},
		{0.9999, 80, 0.9},
		{0.9999, 1_000_000, 0.9999},
		{0.1, 1, 0.1},
		{0.9, 80, 0.9},
		{0.9, 81, 0.9},
		{0, 5, 0},
	} {
		if got := EMADecay(test.rate, test.step); math.Abs(got-test.want) > 1e-15 {
			t.Errorf("rate %g at step %d: %g, want %g", test.rate, test.step, got, test.want)
		}
	}
}

// The EMAs of an engine that warms up are those that the definition gives from the weights of
// each step. A step that overflows, which is skipped, leaves them as they were.
func TestEMAWarmup(t *testing.T) {
	for _, precision := range []string{"fp32", "bf16", "fp16"} {
		t.Run(precision, func(t *testing.T) {
			o := tiny()
			o.Precision, o.EMAWarmup, o.EMARates = precision, true, []float64{0.2, 0.999}
			run(t, o, func(e *Engine) {
				bias := parameter(e, "time_embed.2.bias")
				index := slices.IndexFunc(e.network.Parameters(), func(p *model.Parameter) bool { return p.Name == "time_embed.2.bias" })
				want := [][]float64{bias.Float64s(), bias.Float64s()}
				for step := 1; step <= 4; step++ {
					overflows := precision == "fp16" && step == 3
					e.health.Log2LossScale = map[bool]float64{true: 100, false: 4}[overflows]
					r, err := e.Step(images(o))
					if err != nil {
						t.Fatal(err)
					}
					if r.Values().NonFinite != overflows {
						t.Fatalf("step %d is skipped: %t", step, !overflows)
					}
					for i, rate := range o.EMARates {
						for k, got := range e.ema[i][index].Float64s() {
							if !overflows {
								want[i][k] += (1 - EMADecay(rate, step)) * (bias.Float64s()[k] - want[i][k])
							}
							if !(math.Abs(got-want[i][k]) < 1e-6) {
								t.Fatalf("after step %d the EMA of rate %g has %g, want %g", step, rate, got, want[i][k])
							}
						}
					}
				}
			})
		})
	}
}
