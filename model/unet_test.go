package model

import (
	"encoding/json"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/wangkuiyi/gotorch"
	"github.com/wangkuiyi/gotorch/pt"
)

// small is a network with every kind of layer.
func small() UNetConfig {
	return UNetConfig{
		InChannels: 3, ModelChannels: 32, OutChannels: 6, NumResBlocks: 1, AttentionResolutions: []int{2},
		ChannelMult: []float64{1, 2}, NumClasses: 10, NumHeads: 4, UseScaleShiftNorm: true,
	}
}

// kinds are networks with different backward passes.
var kinds = map[string]func(*UNetConfig){
	"scale-shift": func(*UNetConfig) {},
	"plain":       func(u *UNetConfig) { u.UseScaleShiftNorm = false },
	"wide":        func(u *UNetConfig) { u.ChannelMult, u.NumResBlocks, u.NumHeadsUpsample = []float64{2, 1, 2}, 2, 2 },
	"adm":         adm,
}

// adm changes a network into one of guided-diffusion with every kind of layer.
func adm(u *UNetConfig) {
	u.ModelChannels, u.ChannelMult = 64, []float64{0.5, 1}
	u.ResBlockUpDown, u.NewAttentionOrder, u.NumHeadChannels = true, true, 16
}

// newTrainable returns a network of a kind, with dropout and gradient tracking.
func newTrainable(t *testing.T, change func(*UNetConfig)) *UNet {
	t.Helper()
	u := small()
	u.Dropout = 0.3
	change(&u)
	network, err := New(u, 1)
	if err != nil {
		t.Fatal(err)
	}
	randomizeZeros(network)
	network.SetRequiresGrad(true)
	return network
}

// randomizeZeros gives the zero-initialised layers random weights: otherwise most
// gradients are zero.
func randomizeZeros(network *UNet) {
	g := gotorch.NewGenerator(gotorch.Device{}, 99)
	gotorch.NoGrad(func() {
		for _, p := range network.Parameters() {
			if p.Tensor.Abs().Max().Float64() == 0 {
				p.Tensor.NormalI(0, 0.05, g)
			}
		}
	})
}

// TestInitialWeights compares with the weights of improved-diffusion and guided-diffusion
// after torch.manual_seed(7): sums and last elements, per parameter.
func TestInitialWeights(t *testing.T) {
	updown := small()
	updown.ModelChannels, updown.ChannelMult, updown.ResBlockUpDown = 64, []float64{0.5, 1}, true
	for file, u := range map[string]UNetConfig{"init_seed7.json": small(), "init_adm_seed7.json": updown} {
		t.Run(file, func(t *testing.T) { checkInitialWeights(t, u, "testdata/"+file) })
	}
}

func checkInitialWeights(t *testing.T, u UNetConfig, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var want struct {
		Seed       uint64
		Parameters map[string][2]float64
	}
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	gotorch.Scope(func() {
		network, err := New(u, want.Seed)
		if err != nil {
			t.Error(err)
			return
		}
		if got := len(network.Parameters()); got != len(want.Parameters) {
			t.Errorf("%d parameters, want %d", got, len(want.Parameters))
		}
		for _, p := range network.Parameters() {
			w := want.Parameters[p.Name]
			values := p.Tensor.Float32s()
			sum := p.Tensor.CastTo(gotorch.Double).Sum().Float64()
			if last := float64(values[len(values)-1]); last != w[1] || math.Abs(sum-w[0]) > 1e-9*math.Abs(w[0]) {
				t.Errorf("%s: sum %v, last %v, want %v", p.Name, sum, last, w)
			}
		}
	})
}

// gradients evaluates the network, with dropout, and returns the output and all
// gradients of sum(output^2).
func gradients(t *testing.T, network *UNet, segments *Segments, dtype gotorch.DType) (out []float32, grads [][]float32) {
	t.Helper()
	return gradientsOf(t, network, network.Forward, segments, dtype, nil)
}

func gradientsOf(t *testing.T, network *UNet, forward func(x, t gotorch.Tensor, in Input) gotorch.Tensor, segments *Segments, dtype gotorch.DType, onSegmentDone func()) (out []float32, grads [][]float32) {
	t.Helper()
	gotorch.Scope(func() {
		key := gotorch.PhiloxKey{Seed: 5}
		x := gotorch.PhiloxNormal(gotorch.Device{}, gotorch.Float, key, 2, 3, 16, 16)
		in := Input{Y: gotorch.FromInt64s([]int64{3, 9}), Dropout: &key, Segments: segments, Dtype: dtype}
		gotorch.ZeroGrads(network.Tensors())
		y := forward(x, gotorch.FromInt64s([]int64{7, 900}), in)
		y.Mul(y).Sum().Backward()
		if onSegmentDone != nil {
			onSegmentDone()
		}
		segments.Backward(onSegmentDone)
		out = y.Float32s()
		for _, p := range network.Tensors() {
			grads = append(grads, p.Grad().Float32s())
		}
	})
	return out, grads
}

func distance(a, b []float32) (worst, largest float64) {
	for i := range a {
		worst = math.Max(worst, math.Abs(float64(a[i])-float64(b[i])))
		largest = math.Max(largest, math.Abs(float64(a[i])))
	}
	return worst, largest
}

// TestBFloat16 compares bfloat16 compute with float32.
func TestBFloat16(t *testing.T) {
	t.Run("small", func(t *testing.T) { checkBFloat16(t, small()) })
	u := small()
	adm(&u)
	t.Run("adm", func(t *testing.T) { checkBFloat16(t, u) })
}

func checkBFloat16(t *testing.T, u UNetConfig) {
	gotorch.Scope(func() {
		network, err := New(u, 1)
		if err != nil {
			t.Error(err)
			return
		}
		randomizeZeros(network)
		network.SetRequiresGrad(true)
		out, grads := gradients(t, network, nil, gotorch.Float)
		half, gradsHalf := gradients(t, network, nil, gotorch.BFloat16)
		if d, largest := distance(out, half); d > 0.05*largest || d == 0 {
			t.Errorf("outputs differ by %g of %g", d, largest)
		}
		var dot, a2, b2 float64
		for k := range grads {
			for i, g := range grads[k] {
				h := float64(gradsHalf[k][i])
				dot, a2, b2 = dot+float64(g)*h, a2+float64(g)*float64(g), b2+h*h
			}
		}
		if cosine := dot / math.Sqrt(a2*b2); cosine < 0.999 {
			t.Errorf("the gradients' cosine is %g", cosine)
		}
	})
}

// TestFreeze compares frozen weights with weights that are cast in each evaluation.
func TestFreeze(t *testing.T) {
	for _, dtype := range []gotorch.DType{gotorch.Float, gotorch.BFloat16} {
		u := small()
		t.Run("small "+dtype.String(), func(t *testing.T) { checkFreeze(t, u, dtype) })
		adm(&u)
		t.Run("adm "+dtype.String(), func(t *testing.T) { checkFreeze(t, u, dtype) })
	}
}

func checkFreeze(t *testing.T, u UNetConfig, dtype gotorch.DType) {
	network, err := New(u, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer network.Free()
	randomizeZeros(network)
	forward := func() (out []float32) {
		gotorch.NoGrad(func() {
			gotorch.Scope(func() {
				x := gotorch.PhiloxNormal(gotorch.Device{}, gotorch.Float, gotorch.PhiloxKey{}, 1, 3, 16, 16)
				in := Input{Y: gotorch.FromInt64s([]int64{4}), Dtype: dtype}
				out = network.Forward(x, gotorch.FromInt64s([]int64{30}), in).Float32s()
			})
		})
		return out
	}
	before := forward()
	network.Freeze(dtype)
	live := gotorch.LiveTensors()
	for i, v := range forward() {
		if v != before[i] {
			t.Fatalf("value %d is %v with frozen weights, %v without", i, v, before[i])
		}
	}
	if now := gotorch.LiveTensors(); now > live { // other tests' tensors may be collected meanwhile
		t.Errorf("%d tensors live after an evaluation, %d before", now, live)
	}
}

// TestDropout: masks depend on the key only, and without a key there are none.
func TestDropout(t *testing.T) {
	gotorch.Scope(func() {
		u := small()
		u.Dropout = 0.5
		network, err := New(u, 1)
		if err != nil {
			t.Error(err)
			return
		}
		randomizeZeros(network)
		x := gotorch.PhiloxNormal(gotorch.Device{}, gotorch.Float, gotorch.PhiloxKey{}, 4, 3, 16, 16)
		steps, y := gotorch.FromInt64s([]int64{1, 2, 3, 4}), gotorch.FromInt64s([]int64{0, 1, 2, 3})
		forward := func(x, steps, y gotorch.Tensor, key *gotorch.PhiloxKey) []float32 {
			return network.Forward(x, steps, Input{Y: y, Dropout: key}).Float32s()
		}
		whole := forward(x, steps, y, &gotorch.PhiloxKey{Step: 3})
		part := forward(x.Narrow(0, 2, 2), steps.Narrow(0, 2, 2), y.Narrow(0, 2, 2), &gotorch.PhiloxKey{Step: 3, FirstSample: 2})
		if d, largest := distance(part, whole[len(whole)/2:]); d > 1e-4*largest {
			t.Errorf("half a batch differs from the whole by %g of %g", d, largest)
		}
		for name, other := range map[string][]float32{
			"evaluation":   forward(x, steps, y, nil),
			"another step": forward(x, steps, y, &gotorch.PhiloxKey{Step: 4}),
		} {
			if d, largest := distance(other, whole); d < 0.01*largest {
				t.Errorf("%s has the masks of step 3", name)
			}
		}
	})
}

// TestLoadStateDict: an error lists every mismatch, and no weight changes.
func TestLoadStateDict(t *testing.T) {
	gotorch.Scope(func() {
		network, err := New(small(), 1)
		if err != nil {
			t.Error(err)
			return
		}
		before := network.Tensors()[0].Float32s()
		other := small()
		other.ChannelMult, other.NumClasses = []float64{1, 1}, 0
		source, err := New(other, 2)
		if err != nil {
			t.Error(err)
			return
		}
		dict := source.StateDict()
		dict.Set("stray", &pt.Tensor{DType: pt.Float32, Shape: []int64{1}, Data: make([]byte, 4)})
		err = network.LoadStateDict(dict)
		for _, want := range []string{"missing: label_emb.weight [10 128]", "unknown: stray [1]", "shape: input_blocks.3.0.in_layers.2.weight is [32 32 3 3], the network needs [64 32 3 3]"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v lacks %q", err, want)
			}
		}
		if after := network.Tensors()[0].Float32s(); after[0] != before[0] {
			t.Error("a failed LoadStateDict changed the weights")
		}
	})
}

// TestWatch: Watch is called once per block, in order, and does not change the output.
func TestWatch(t *testing.T) {
	gotorch.Scope(func() {
		network, err := New(small(), 1)
		if err != nil {
			t.Fatal(err)
		}
		defer network.Free()
		randomizeZeros(network)
		x := gotorch.PhiloxNormal(gotorch.Device{}, gotorch.Float, gotorch.PhiloxKey{}, 1, 3, 16, 16)
		steps := gotorch.FromInt64s([]int64{3})
		var blocks []string
		var last gotorch.Tensor
		in := Input{Y: gotorch.FromInt64s([]int64{1})}
		want := network.Forward(x, steps, in)
		in.Watch = func(block string, h gotorch.Tensor) { blocks, last = append(blocks, block), h }
		if got := network.Forward(x, steps, in); !gotorch.Equal(got, want) || !gotorch.Equal(last, want) {
			t.Error("Watch changes the output, or does not receive it")
		}
		if n := 3 + len(network.inputBlocks) + len(network.outputBlocks); len(blocks) != n || blocks[0] != "time_embed" || blocks[1] != "input_blocks.0" || blocks[n-1] != "out" {
			t.Errorf("%d blocks: %v", len(blocks), blocks)
		}
	})
}

// TestGPUPathMatchesCPUPath runs the GPU's operators, deferred biases and unfolded
// upsampling, on the CPU and compares them with the CPU's.
func TestGPUPathMatchesCPUPath(t *testing.T) {
	for name, change := range kinds {
		for mode, segments := range map[string]func() *Segments{"whole": func() *Segments { return nil }, "recomputed": func() *Segments { return new(Segments) },
			"segments": func() *Segments { return &Segments{RetainGraph: true} }} {
			t.Run(name+" "+mode, func(t *testing.T) {
				network := newTrainable(t, change)
				defer network.Free()
				want, wantGrads := gradients(t, network, nil, gotorch.Float)
				for _, p := range network.Parameters() {
					p.upsamples = false
				}
				gpuPath := func(x, t gotorch.Tensor, in Input) gotorch.Tensor { return network.forward(x, t, in, true) }
				got, grads := gradientsOf(t, network, gpuPath, segments(), gotorch.Float, nil)
				if d, largest := distance(want, got); d > 1e-5*largest {
					t.Errorf("the outputs differ by %g of %g", d, largest)
				}
				for k, p := range network.Parameters() {
					if d, largest := distance(wantGrads[k], grads[k]); d > 1e-4*largest+1e-4 {
						t.Errorf("%s: gradients differ by %g of %g", p.Name, d, largest)
					}
				}
			})
		}
	}
}
