package initializer

import (
	"math"
	"testing"

	torch "github.com/wangkuiyi/gotorch"
)

func near(t *testing.T, name string, got []float64, want ...float64) {
	t.Helper()
	for i := range want {
		if math.Abs(got[i]-want[i]) > 1e-6*max(1, math.Abs(want[i])) {
			t.Errorf("%s: %v, want %v", name, got, want)
			return
		}
	}
}

// TestKnownValues compares with torch.nn.init of PyTorch 2.11 after the same
// seed.
func TestKnownValues(t *testing.T) {
	ManualSeed(1)
	near(t, "RandN", torch.RandN([]int64{1}, false).Float64s(), 0.6613521576)

	x := torch.Empty([]int64{3}, true)
	ManualSeed(3)
	Uniform(&x, 11, 22)
	near(t, "Uniform", x.Float64s(), 11.0468988419, 12.1612625122, 14.1442670822)
	Normal(&x, 0.1, 0.2)
	near(t, "Normal", x.Float64s(), 0.1490651071, 0.3237186372, 0.1885479838)
	Zeros(&x)
	near(t, "Zeros", x.Float64s(), 0, 0, 0)
	Ones(&x)
	near(t, "Ones", x.Float64s(), 1, 1, 1)
	if !x.RequiresGrad() {
		t.Error("the tensor no longer requires a gradient")
	}

	for _, c := range []struct {
		a          float64
		mode, kind string
		want       []float64
	}{
		{math.Sqrt(5), "fan_in", "leaky_relu", []float64{0.02469396405, -0.21297830343, 0.11257966608, 0.11093817651}},
		{0.2, "fan_out", "leaky_relu", []float64{0.04842884839, -0.41768482327}},
		{0.2, "fan_in", "relu", []float64{0.06048761308, -0.52168816328}},
		{0.2, "fan_in", "tanh", []float64{0.07128533721, -0.61481541395}},
		{0.2, "fan_in", "linear", []float64{0.04277120531, -0.36888927221}},
		{0.2, "fan_in", "sigmoid", []float64{0.04277120531, -0.36888927221}},
		{0.2, "fan_in", "conv2d", []float64{0.04277120531, -0.36888927221}},
		{0.2, "fan_in", "selu", []float64{0.03207840025, -0.27666693926}},
	} {
		w := torch.Empty([]int64{3, 2, 2, 2}, true)
		ManualSeed(7)
		KaimingUniform(&w, c.a, c.mode, c.kind)
		near(t, c.mode+" "+c.kind, w.Float64s(), c.want...)
	}
}

func TestFans(t *testing.T) {
	for _, c := range []struct {
		shape   []int64
		in, out int64
	}{
		{[]int64{5, 3}, 3, 5},
		{[]int64{5, 3, 2, 4}, 24, 40},
		{[]int64{0, 3}, 3, 0},
	} {
		in, out := CalculateFanInAndFanOut(torch.Empty(c.shape, false))
		if in != c.in || out != c.out {
			t.Errorf("%v: %d and %d, want %d and %d", c.shape, in, out, c.in, c.out)
		}
	}
	empty := torch.Empty([]int64{0, 3}, false)
	KaimingUniform(&empty, 0, "fan_out", "relu")
}

func TestRefusals(t *testing.T) {
	var undefined torch.Tensor
	vector, matrix := torch.Ones([]int64{3}, false), torch.Ones([]int64{2, 3}, false)
	for name, f := range map[string]func(){
		"Zeros of nil":               func() { Zeros(nil) },
		"Ones of undefined":          func() { Ones(&undefined) },
		"Uniform of undefined":       func() { Uniform(&undefined, 0, 1) },
		"Uniform upside down":        func() { Uniform(&vector, 1, 0) },
		"Normal of nil":              func() { Normal(nil, 0, 1) },
		"Normal of negative spread":  func() { Normal(&vector, 0, -1) },
		"KaimingUniform of a vector": func() { KaimingUniform(&vector, 0, "fan_in", "relu") },
		"KaimingUniform fan":         func() { KaimingUniform(&matrix, 0, "fan_both", "relu") },
		"KaimingUniform gain":        func() { KaimingUniform(&matrix, 0, "fan_in", "gelu") },
		"fans of undefined":          func() { CalculateFanInAndFanOut(undefined) },
	} {
		if err := torch.Try(f); err == nil {
			t.Errorf("%s: there was no error", name)
		}
	}
}
