package engine

import (
	"math"
	"slices"
	"testing"

	"iddpm/model"
	"iddpm/train/posthoc"
)

// The power-function EMAs of an engine are the means of the weights of all steps with the
// densities of their profiles, beside EMAs of constant decay rates. A skipped step counts as one
// that leaves the weights as they are.
func TestPowerEMA(t *testing.T) {
	for _, precision := range []string{"fp32", "fp16"} {
		o := tiny()
		o.Precision, o.EMARates, o.PowerEMAs = precision, []float64{0.9}, []float64{0.05, 0.2}
		run(t, o, func(e *Engine) {
			index := slices.IndexFunc(e.network.Parameters(), func(p *model.Parameter) bool { return p.Name == "time_embed.2.bias" })
			var history [][]float64
			for step := 1; step <= 5; step++ {
				overflows := precision == "fp16" && step == 3
				e.health.Log2LossScale = map[bool]float64{true: 100, false: 4}[overflows]
				if _, err := e.Step(images(o)); err != nil {
					t.Fatal(err)
				}
				history = append(history, e.network.Tensors()[index].Float64s())
				for i, length := range o.PowerEMAs {
					gamma, err := posthoc.Gamma(length)
					if err != nil {
						t.Fatal(err)
					}
					for k, got := range e.ema[1+i][index].Float64s() {
						want := 0.0
						for s, weights := range history {
							t, s := float64(step), float64(s+1)
							want += (math.Pow(s/t, gamma+1) - math.Pow((s-1)/t, gamma+1)) * weights[k]
						}
						if !(math.Abs(got-want) < 1e-6) {
							t.Fatalf("%s: after step %d the EMA of length %g has %g, want %g", precision, step, length, got, want)
						}
					}
				}
			}
		})
	}
}
