package engine

import (
	"slices"
	"testing"

	"github.com/wangkuiyi/gotorch"
)

func TestTensorToPixels(t *testing.T) {
	for _, c := range []struct {
		x    float32
		want byte
	}{
		{-1, 0}, {1, 255}, {0, 127}, {-1.5, 0}, {1.5, 255}, {-1 + 1.9/127.5, 1}, {1 - 0.1/127.5, 254},
	} {
		gotorch.Scope(func() {
			if got := TensorToPixels(gotorch.FromFloat32s([]float32{c.x}, 1, 1, 1, 1)); got[0] != c.want {
				t.Errorf("%v becomes %d, want %d", c.x, got[0], c.want)
			}
		})
	}
}

// A round trip preserves channels and order, and each value up to 1, since the reference
// truncates fractions.
func TestPixelsRoundTrip(t *testing.T) {
	gotorch.Scope(func() {
		pixels := make([]byte, 2*8*16*3)
		for i := range pixels {
			pixels[i] = byte(i)
		}
		x := PixelsToTensor(gotorch.FromBytes(pixels, gotorch.Byte, 2, 8, 16, 3))
		if !slices.Equal(x.Shape(), []int64{2, 3, 8, 16}) || !x.IsChannelsLast() {
			t.Fatalf("bytes become %v", x.Shape())
		}
		for i, again := range TensorToPixels(x) {
			if again != pixels[i] && again+1 != pixels[i] {
				t.Fatalf("byte %d changes from %d to %d", i, pixels[i], again)
			}
		}
	})
}
