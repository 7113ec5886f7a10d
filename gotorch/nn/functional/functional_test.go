package functional

import (
	"math"
	"testing"

	torch "github.com/wangkuiyi/gotorch"
)

func count(shape ...int64) torch.Tensor {
	n := int64(1)
	for _, s := range shape {
		n *= s
	}
	return torch.ArangeOn(torch.Device{}, torch.Float, 1, 1+float64(n), 1).View(shape...)
}

// TestFunctional compares each function with values from PyTorch 2.11.
func TestFunctional(t *testing.T) {
	var none torch.Tensor
	f := func(v ...float32) torch.Tensor { return torch.FromFloat32s(v) }
	logits := torch.NewTensor([][]float32{{0, 1, 2, 1, 0}, {0, 1, 2, 1, 0}, {0, 1, 2, 1, 0}})
	for _, c := range []struct {
		name string
		got  func() torch.Tensor
		want []float64
	}{
		{"BatchNorm", func() torch.Tensor {
			return BatchNorm(torch.NewTensor([][]float32{{1, 2}, {3, 6}}), f(0.2, 0.4), f(1.1, 1.7), f(2, 3), f(1, 1), false, 0.1, 1e-5)
		}, []float64{2.5255332, 4.6814208, 6.3393664, 13.884974}},
		{"Conv2d", func() torch.Tensor {
			return Conv2d(count(1, 1, 4, 4), count(1, 1, 3, 3), f(1), []int64{2, 2}, []int64{1, 1}, []int64{1, 1}, 1)
		}, []float64{112, 218, 364, 574}},
		{"ConvTranspose2d", func() torch.Tensor {
			return ConvTranspose2d(count(1, 1, 2, 2), count(1, 1, 3, 3), none, []int64{2, 2}, []int64{1, 1}, []int64{1, 1}, 1, []int64{1, 1})
		}, []float64{5, 14, 10, 12, 14, 36, 24, 30, 15, 34, 20, 24, 24, 55, 32, 36}},
		{"LogSoftmax", func() torch.Tensor { return LogSoftmax(count(1, 3), 1) }, []float64{-2.4076059, -1.4076059, -0.40760595}},
		{"LogSoftmax default of a matrix", func() torch.Tensor { return LogSoftmax(count(1, 3), -1) }, []float64{-2.4076059, -1.4076059, -0.40760595}},
		{"LogSoftmax default of a vector", func() torch.Tensor { return LogSoftmax(count(3), -1) }, []float64{-2.4076059, -1.4076059, -0.40760595}},
		{"LogSoftmax default of three dimensions", func() torch.Tensor { return LogSoftmax(count(1, 1, 3), -1) }, []float64{0, 0, 0}},
		{"NllLoss", func() torch.Tensor {
			return NllLoss(LogSoftmax(count(1, 3).Expand(2, 3), 1), torch.NewTensor([]int64{0, 2}), f(1, 1, 3), -100, "mean")
		}, []float64{0.90760595}},
		{"NllLoss of images", func() torch.Tensor {
			return NllLoss(count(1, 2, 2, 2), torch.FromInt64s([]int64{0, 1, 0, 1}, 1, 2, 2), none, -100, "none")
		}, []float64{-1, -6, -3, -8}},
		{"CrossEntropy", func() torch.Tensor {
			return CrossEntropy(logits, torch.NewTensor([]int64{0, 3, 4}), none, -100, "mean")
		}, []float64{2.3630235}},
		{"CrossEntropy weighted", func() torch.Tensor {
			return CrossEntropy(logits, torch.NewTensor([]int64{0, -100, 4}), f(1, 2, 3, 4, 5), -100, "sum")
		}, []float64{16.178141}},
		{"CrossEntropy of one row", func() torch.Tensor {
			return CrossEntropy(logits.Index(0), torch.FullOn(torch.Device{}, torch.Long, 3), none, -100, "mean")
		}, []float64{1.6963568}},
		{"BinaryCrossEntropy", func() torch.Tensor { return BinaryCrossEntropy(f(0.25, 0.5), f(1, 0), none, "sum") }, []float64{2.0794415}},
		{"Relu", func() torch.Tensor { return Relu(f(-1, 0.5), false) }, []float64{0, 0.5}},
		{"LeakyRelu", func() torch.Tensor { return LeakyRelu(f(-1, 0.5), 0.01, false) }, []float64{-0.01, 0.5}},
		{"Linear", func() torch.Tensor { return Linear(count(2, 2), count(2, 2), f(1, 2)) }, []float64{6, 13, 12, 27}},
		{"MaxPool2d", func() torch.Tensor {
			return MaxPool2d(count(1, 1, 3, 3), []int64{2, 2}, []int64{2, 2}, []int64{0, 0}, []int64{1, 1}, true)
		}, []float64{5, 6, 8, 9}},
		{"AdaptiveAvgPool2d", func() torch.Tensor { return AdaptiveAvgPool2d(count(1, 1, 2, 4), []int64{1, 2}) }, []float64{3.5, 5.5}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := c.got().Float64s()
			if len(got) != len(c.want) {
				t.Fatalf("%v, want %v", got, c.want)
			}
			for i, v := range got {
				if math.Abs(v-c.want[i]) > 1e-6*max(1, math.Abs(c.want[i])) {
					t.Fatalf("%v, want %v", got, c.want)
				}
			}
		})
	}
}

func TestInPlace(t *testing.T) {
	for name, f := range map[string]func(x torch.Tensor, inplace bool) torch.Tensor{
		"Relu":      Relu,
		"LeakyRelu": func(x torch.Tensor, inplace bool) torch.Tensor { return LeakyRelu(x, 0.5, inplace) },
	} {
		x := torch.FromFloat32s([]float32{-2, 3})
		apart := f(x, false)
		if torch.Equal(x, apart) {
			t.Errorf("%s changed its argument", name)
		}
		if y := f(x, true); y != x || !torch.Equal(x, apart) {
			t.Errorf("%s in place left %v, want %v", name, x, apart)
		}
		leaf := torch.FromFloat32s([]float32{-2, 3})
		leaf.SetRequiresGrad(true)
		f(leaf.MulScalar(1), true).Sum().Backward()
		slopes := f(torch.FromFloat32s([]float32{-1, 1}), false).Abs()
		if got := leaf.Grad(); !torch.Equal(got, slopes) {
			t.Errorf("%s in place: the gradient is %v", name, got)
		}
	}
}

func TestRefusals(t *testing.T) {
	one := torch.Ones([]int64{1}, false)
	for name, f := range map[string]func(){
		"reduction": func() { CrossEntropy(one, one, torch.Tensor{}, -100, "median") },
		"undefined": func() { LogSoftmax(torch.Tensor{}, -1) },
		"no stride": func() { Conv2d(one, one, torch.Tensor{}, nil, nil, nil, 1) },
		"shapes":    func() { Linear(one, torch.Ones([]int64{2, 3}, false), torch.Tensor{}) },
	} {
		if err := torch.Try(f); err == nil {
			t.Errorf("%s: there was no error", name)
		}
	}
}
