package model

import (
	"encoding/json"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/wangkuiyi/gotorch"
)

// smallClassifier is the network of testdata/init_classifier_seed7.json.
func smallClassifier(pool string) EncoderConfig {
	return EncoderConfig{
		UNetConfig: UNetConfig{
			InChannels: 3, ModelChannels: 32, OutChannels: 5, NumResBlocks: 1, AttentionResolutions: []int{2}, ChannelMult: []float64{1, 1},
			NumHeads: 1, NumHeadChannels: 16, UseScaleShiftNorm: true, ResBlockUpDown: true,
		},
		ImageSize: 8, Pool: pool,
	}
}

// TestClassifierInitialWeights compares the head of every pooling with guided-diffusion's after
// torch.manual_seed(7). It is drawn last, so the rest of the network has been drawn alike.
func TestClassifierInitialWeights(t *testing.T) {
	text, err := os.ReadFile("testdata/init_classifier_seed7.json")
	if err != nil {
		t.Fatal(err)
	}
	var want struct {
		Pools map[string]map[string][2]float64
	}
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	for _, pool := range pools {
		network, err := NewClassifier(smallClassifier(pool), 7)
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		gotorch.Scope(func() {
			for _, p := range network.Parameters() {
				w, head := want.Pools[pool][p.Name]
				if !head {
					continue
				}
				found++
				values := p.Tensor.Float32s()
				sum := p.Tensor.CastTo(gotorch.Double).Sum().Float64()
				if last := float64(values[len(values)-1]); math.Abs(last-w[1]) > 1e-7*math.Abs(w[1]) || math.Abs(sum-w[0]) > 1e-6*math.Abs(w[0]) {
					t.Errorf("%s, %s: sum %v, last %v, want %v", pool, p.Name, sum, last, w)
				}
			}
		})
		if found == 0 || found != len(want.Pools[pool]) {
			t.Errorf("%s: %d of %d parameters of the head", pool, found, len(want.Pools[pool]))
		}
		network.Free()
	}
}

// TestPublishedClassifiers compares the sizes of guided-diffusion's published classifiers.
func TestPublishedClassifiers(t *testing.T) {
	for name, test := range map[string]struct {
		size, depth, tensors int
		parameters           int64
	}{
		"64":  {64, 4, 307, 65_438_568},
		"512": {512, 2, 281, 54_448_360},
	} {
		c := DefaultClassifier()
		c.ImageSize, c.Depth = test.size, test.depth
		e, err := c.Encoder()
		if err != nil {
			t.Fatal(err)
		}
		network, err := PlanClassifier(e)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(network.Parameters()); n != test.tensors || network.NumParameters() != test.parameters {
			t.Errorf("%s pixels: %d tensors and %d parameters, want %d and %d", name, n, network.NumParameters(), test.tensors, test.parameters)
		}
	}
}

// TestClassifierSegments compares the gradients of both kinds of segments with those of the plain
// backward pass.
func TestClassifierSegments(t *testing.T) {
	for _, pool := range pools {
		t.Run(pool, func(t *testing.T) {
			network, err := NewClassifier(smallClassifier(pool), 1)
			if err != nil {
				t.Fatal(err)
			}
			defer network.Free()
			gotorch.NoGrad(func() {
				for _, p := range network.Parameters() {
					p.Tensor.NormalI(0, 0.05, gotorch.NewGenerator(gotorch.Device{}, 9))
				}
			})
			network.SetRequiresGrad(true)
			gradients := func(segments *Segments) (grads [][]float32) {
				gotorch.Scope(func() {
					gotorch.ZeroGrads(network.Tensors())
					x := gotorch.PhiloxNormal(gotorch.Device{}, gotorch.Float, gotorch.PhiloxKey{Seed: 5}, 2, 3, 8, 8)
					y := network.Forward(x, gotorch.FromInt64s([]int64{7, 900}), Input{Segments: segments})
					y.Mul(y).Sum().Backward()
					segments.Backward(nil)
					for _, p := range network.Tensors() {
						grads = append(grads, p.Grad().Float32s())
					}
				})
				return grads
			}
			want := gradients(nil)
			for name, segments := range map[string]*Segments{"recomputed": {}, "retained": {RetainGraph: true}} {
				for k, got := range gradients(segments) {
					if d, largest := distance(want[k], got); d > 1e-4*largest+1e-5 {
						t.Errorf("%s: gradients of %s differ by %g of %g", name, network.params[k].Name, d, largest)
					}
				}
			}
		})
	}
}

func TestClassifierErrors(t *testing.T) {
	for want, change := range map[string]func(*ClassifierConfig){
		"at least one class, not 0":                 func(c *ClassifierConfig) { c.NumClasses = 0 },
		`classifier-pool "max" is not one of adapt`: func(c *ClassifierConfig) { c.Pool = "max" },
		"num-channels must be in":                   func(c *ClassifierConfig) { c.Width = 0 },
		"has no default channel multipliers":        func(c *ClassifierConfig) { c.ImageSize = 48 },
	} {
		c := DefaultClassifier()
		change(&c)
		if _, err := c.Encoder(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v lacks %q", err, want)
		}
	}
}
