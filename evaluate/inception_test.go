package evaluate_test

import (
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/wangkuiyi/gotorch"
	"github.com/wangkuiyi/gotorch/npy"
	"github.com/wangkuiyi/gotorch/pt"

	"iddpm/evaluate"
	"iddpm/internal/madeup"
)

var weights = sync.OnceValue(madeup.InceptionWeights)

// onTensorThread runs f with a network of pseudorandom weights, and checks that it leaks
// no tensor.
func onTensorThread(t *testing.T, f func(n *evaluate.Inception)) {
	t.Helper()
	gotorch.Run(func() {
		before := gotorch.LiveTensors()
		n, err := evaluate.New(weights(), gotorch.Device{})
		if err != nil {
			t.Fatal(err)
		}
		gotorch.Scope(func() { f(n) })
		n.Free()
		if left := gotorch.LiveTensors() - before; left != 0 {
			t.Errorf("%d tensors are left", left)
		}
	})
}

// near fails if a value differs from the wanted one by more than share times the largest
// wanted value.
func near(t *testing.T, what string, got []float32, want *npy.Array, share float64) {
	t.Helper()
	values := want.Float64s()
	if len(got) != len(values) {
		t.Fatalf("%s: %d values, not %d", what, len(got), len(values))
	}
	largest, off := 0.0, 0.0
	for i, v := range values {
		largest, off = max(largest, math.Abs(v)), max(off, math.Abs(v-float64(got[i])))
	}
	if !(off <= share*largest) {
		t.Errorf("%s: off by %g, of values up to %g", what, off, largest)
	}
}

// TestGoldenInception compares with torch-fidelity's network: for small images, which are
// upsampled, and for a large one.
func TestGoldenInception(t *testing.T) {
	want, err := npy.ReadNPZ(filepath.Join("testdata", "inception.npz"))
	if err != nil {
		t.Fatal(err)
	}
	onTensorThread(t, func(n *evaluate.Inception) {
		for _, c := range []struct{ count, size int }{{3, 24}, {1, 321}} {
			name := func(kind string) string { return fmt.Sprintf("%s_%d", kind, c.size) }
			// The name is the seed of the pixels, in testdata/make.py too.
			x := gotorch.FromBytes(madeup.Images(fmt.Sprintf("pictures %d", c.size), c.count, c.size), gotorch.Byte, int64(c.count), int64(c.size), int64(c.size), 3)
			pool, spatial := n.Features(x)
			near(t, name("pool"), pool.Float32s(), want[name("pool")], 1e-4)
			near(t, name("spatial"), spatial.Float32s(), want[name("spatial")], 1e-4)
			near(t, name("logits"), n.Logits(pool).Float32s(), want[name("logits")], 1e-4)
		}
	})
}

func TestRefusedWeights(t *testing.T) {
	dir := t.TempDir()
	odd := &pt.Dict{}
	for name, value := range weights().All() {
		if name != "Mixed_7c.branch_pool.bn.bias" {
			odd.Set(name, value)
		}
	}
	odd.Set("Conv2d_1a_3x3.conv.weight", &pt.Tensor{DType: pt.Float32, Shape: []int64{1}, Data: make([]byte, 4)})
	list, file := filepath.Join(dir, "list.pth"), filepath.Join(dir, "odd.pth")
	for path, value := range map[string]any{list: []any{}, file: odd} {
		if err := pt.WriteFile(path, value); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string][]string{
		filepath.Join(dir, "none.pth"): {"none.pth", "no such file"},
		list:                           {"list.pth", "not the Inception network's state_dict"},
		file: {"odd.pth", "missing: Mixed_7c.branch_pool.bn.bias [192]",
			"shape: Conv2d_1a_3x3.conv.weight is [1], the network needs [32 3 3 3]"},
	} {
		gotorch.Run(func() {
			before := gotorch.LiveTensors()
			_, err := evaluate.Load(path, gotorch.Device{})
			if err == nil {
				t.Fatalf("%s is accepted", path)
			}
			for _, part := range want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("the error lacks %q: %v", part, err)
				}
			}
			if left := gotorch.LiveTensors() - before; left != 0 {
				t.Errorf("%s: %d tensors are left", path, left)
			}
		})
	}
}
