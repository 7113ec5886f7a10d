package model

import (
	"encoding/json"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wangkuiyi/gotorch"
	"github.com/wangkuiyi/gotorch/pt"

	"iddpm/internal/golden"
)

// goldenCase is one folder of testdata/golden/model.
type goldenCase struct {
	dir    string
	config UNetConfig
	io     golden.Archive // see open
}

func goldenCases(t *testing.T) map[string]goldenCase {
	cases := map[string]goldenCase{}
	for _, file := range golden.Files(t, "model/*/config.json") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var c struct {
			ModelClass string `json:"model_class"`
			Model      struct {
				UNetConfig
				Dims int `json:"dims"`
			} `json:"model"`
		}
		c.Model.UNetConfig = UNetConfig{NumHeads: 1, ChannelMult: []float64{1, 2, 4, 8}} // UNetModel's defaults
		if err := json.Unmarshal(text, &c); err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if c.Model.Dims != 0 && c.Model.Dims != 2 {
			t.Logf("%s convolves in %d dimensions: the paper's images have 2", file, c.Model.Dims)
			continue
		}
		c.Model.SuperRes = c.ModelClass == "SuperResModel"
		dir := filepath.Dir(file)
		cases[filepath.Base(dir)] = goldenCase{dir: dir, config: c.Model.UNetConfig}
	}
	return cases
}

// open reads the case's arrays, or skips the test if one of names is missing.
func (c *goldenCase) open(t *testing.T, names ...string) {
	path := filepath.Join(c.dir, "io.npz")
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		t.Skip("the case has no io.npz")
	}
	c.io = golden.Open(t, path)
	for _, name := range names {
		if !c.io.Has(name) {
			t.Skipf("the case has no %s", name)
		}
	}
}

func (c goldenCase) tensor(name string) gotorch.Tensor {
	return gotorch.FromFloat32s(c.io.Float32s(name), c.io.Shape(name)...)
}

func (c goldenCase) input() (in Input) {
	if c.io.Has("y") {
		in.Y = gotorch.FromInt64s(c.io.Int64s("y"))
	}
	if c.io.Has("low_res") {
		in.LowRes = c.tensor("low_res")
	}
	return in
}

// TestGoldenForward loads every weight file of every case, strictly, and
// compares the network's output at raw timesteps.
func TestGoldenForward(t *testing.T) {
	for name, c := range goldenCases(t) {
		t.Run(name, func(t *testing.T) {
			c.open(t, "x_t", "t", "forward_at_raw_t")
			entries, err := os.ReadDir(c.dir)
			if err != nil {
				t.Fatal(err)
			}
			files := 0
			for _, e := range entries {
				if weights, _ := filepath.Match("model*.pt", e.Name()); weights {
					files++
					t.Run(e.Name(), func(t *testing.T) {
						golden.Conditioned(t, func(compared *golden.Comparisons, nudge int) {
							nudged := c
							nudged.io = c.io.Nudged(nudge)
							gotorch.Scope(func() { nudged.checkForward(t, filepath.Join(c.dir, e.Name()), compared) })
						})
					})
				}
			}
			if files == 0 {
				t.Skip("the case has no model*.pt")
			}
		})
	}
}

func (c goldenCase) checkForward(t *testing.T, file string, compared *golden.Comparisons) {
	network, err := New(c.config, 1)
	if err != nil {
		t.Error(err)
		return
	}
	dict, err := pt.ReadFile(file)
	if err != nil {
		t.Error(err)
		return
	}
	if err := network.LoadStateDict(dict.(*pt.Dict)); err != nil {
		t.Error(err)
		return
	}
	gotorch.NoGrad(func() {
		out := network.Forward(c.tensor("x_t"), gotorch.FromInt64s(c.io.Int64s("t")), c.input())
		if want := c.io.Shape("forward_at_raw_t"); !slices.Equal(out.Shape(), want) {
			t.Errorf("output of shape %v, want %v", out.Shape(), want)
			return
		}
		golden.Add(compared, "forward_at_raw_t", int(out.Size(0)), out.Float32s(), c.io.Float32s("forward_at_raw_t"), golden.Tolerance{OfMax: 1e-4})
	})
}

// TestGoldenParameterNames compares the order of the parameters with PyTorch's
// named_parameters().
func TestGoldenParameterNames(t *testing.T) {
	for name, c := range goldenCases(t) {
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join(c.dir, "parameter_names.json"))
			if err != nil {
				t.Skip("the case has no parameter_names.json")
			}
			var want []string
			if err := json.Unmarshal(text, &want); err != nil {
				t.Fatal(err)
			}
			network, err := Plan(c.config)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, p := range network.Parameters() {
				got = append(got, p.Name)
			}
			if !slices.Equal(got, want) {
				t.Errorf("parameters in the order %v, want %v", got, want)
			}
		})
	}
}

// TestTimestepEmbeddingRounds uses a late timestep, where an ulp of a frequency changes a cosine by 1e-4, and a width
// whose half is no power of two: there multiplying by 1 / half instead of dividing changes frequencies by several ulps.
// One ulp is allowed, since exp rounds differently on CPUs of Intel and AMD, in PyTorch as here.
func TestTimestepEmbeddingRounds(t *testing.T) {
	const timestep, half = 4000, 96
	gotorch.Scope(func() {
		got := TimestepEmbedding(gotorch.FromFloat32s([]float32{timestep}), 2*half, 0).Float64s()
		for k := range half {
			exponent := float32(k) * float32(-math.Log(10000)) / half
			frequency := math.Exp(float64(exponent))
			ulps := 1.5 * timestep * frequency / (1 << 23) // of the frequency, and of its product with the timestep
			for i, want := range map[int]float64{k: math.Cos(timestep * frequency), half + k: math.Sin(timestep * frequency)} {
				if math.Abs(got[i]-want) > ulps+1e-6 {
					t.Errorf("element %d is %v, want %v", i, got[i], want)
				}
			}
		}
	})
}

// TestGoldenTimestepEmbedding covers an even and an odd width.
func TestGoldenTimestepEmbedding(t *testing.T) {
	const prefix = "timestep_embedding_"
	for _, file := range golden.Files(t, "pieces/likelihood*.npz") {
		a := golden.Open(t, file)
		for _, name := range a.Names() {
			if !strings.HasPrefix(name, prefix) {
				continue
			}
			gotorch.Scope(func() {
				got := TimestepEmbedding(gotorch.FromFloat32s(a.Float32s("timesteps")), a.Shape(name)[1], 0)
				golden.WithinOfMax(t, name, got.Float32s(), a.Float32s(name), 1e-4)
			})
		}
	}
}
