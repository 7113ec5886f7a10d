package evaluate_test

import (
	"context"
	"fmt"
	"log"

	"github.com/wangkuiyi/gotorch"

	"iddpm/evaluate"
)

// KID and precision of features of one's own, [N, D] each.
func ExampleKernelInceptionDistance() {
	gotorch.Run(func() {
		gotorch.Scope(func() {
			samples := gotorch.FromFloat64s([]float64{0, 0, 1, 0, 0, 1, 1, 1, 0.5, 0.5}, 5, 2)
			kid, err := evaluate.KernelInceptionDistance(context.Background(), samples, samples)
			if err != nil {
				log.Fatal(err)
			}
			precision, recall, err := evaluate.PrecisionRecall(samples, samples)
			if err != nil {
				log.Fatal(err)
			}
			fmt.Printf("KID below 0.01: %v, precision %.0f, recall %.0f\n", kid.Mean < 0.01, precision, recall)
		})
	})
	// Output: KID below 0.01: true, precision 1, recall 1
}
