package evaluate_test

import (
	"strings"
	"testing"

	"github.com/wangkuiyi/gotorch"

	"iddpm/evaluate"
)

// TestGoldenKID compares with torch-fidelity's KID of the same features.
func TestGoldenKID(t *testing.T) {
	golden := readGolden(t)
	gotorch.Run(func() {
		gotorch.Scope(func() {
			for _, test := range []struct {
				name    string
				x, y    gotorch.Tensor
				want    [2]float64
				subsets int
			}{
				{"1500 and 1100 images", numbers("kid a", 1500, 16, 4, 0), numbers("kid b", 1100, 16, 4.4, 0.1), golden.KID, 1000},
				{"40 and 50 images", numbers("a", 40, 6, 1, 0), numbers("b", 50, 6, 1.5, 0.1), golden.KIDSmall, 40},
			} {
				got, err := evaluate.KernelInceptionDistance(t.Context(), test.x, test.y)
				if err != nil || got.SubsetSize != test.subsets || got.Subsets != 100 {
					t.Errorf("%s: %+v, %v", test.name, got, err)
				}
				close(t, test.name+": mean", got.Mean, test.want[0], 1e-10)
				close(t, test.name+": standard deviation", got.Std, test.want[1], 1e-10)
				close(t, test.name+": standard error", got.StdErr, test.want[1]/10, 1e-11)
			}
		})
	})
}

func TestKIDRefuses(t *testing.T) {
	gotorch.Run(func() {
		gotorch.Scope(func() {
			one, many := numbers("a", 1, 6, 1, 0), numbers("b", 5, 6, 1, 0)
			if _, err := evaluate.KernelInceptionDistance(t.Context(), one, many); err == nil || !strings.Contains(err.Error(), "there are 1 and 5") {
				t.Errorf("of one image: %v", err)
			}
			if _, err := evaluate.KernelInceptionDistance(t.Context(), many, many.MulScalar(1e200)); err == nil || !strings.Contains(err.Error(), "not finite") {
				t.Errorf("of features that overflow: %v", err)
			}
		})
	})
}
