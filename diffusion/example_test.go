package diffusion_test

import (
	"context"
	"fmt"
	"log"

	"github.com/wangkuiyi/gotorch"

	"iddpm/diffusion"
)

// The cosine schedule of the paper (equation 17), respaced to a tenth of its timesteps.
func ExampleNew() {
	gotorch.Run(func() {
		d, err := diffusion.New(diffusion.Config{Steps: 1000, NoiseSchedule: diffusion.Cosine, TimestepRespacing: "100"}, gotorch.Device{})
		if err != nil {
			log.Fatal(err)
		}
		last := d.NumTimesteps() - 1
		fmt.Printf("%d timesteps, alphasCumprod from %.4f to %.1e\n", d.NumTimesteps(), d.Schedule.AlphasCumprod[0], d.Schedule.AlphasCumprod[last])
	})
	// Output: 100 timesteps, alphasCumprod from 1.0000 to 2.4e-09
}

// Sample by a network of one's own: any function of x_t, t and the conditioning. This one predicts
// that all of x_t is noise.
func ExampleGaussianDiffusion_SampleLoop() {
	gotorch.Run(func() {
		gotorch.Scope(func() {
			d, err := diffusion.New(diffusion.Config{Steps: 10, NoiseSchedule: diffusion.Cosine}, gotorch.Device{})
			if err != nil {
				log.Fatal(err)
			}
			allNoise := func(x, _ gotorch.Tensor, _ diffusion.Cond) gotorch.Tensor { return x }
			xT := gotorch.FullOn(gotorch.Device{}, gotorch.Float, 1, 1, 3, 4, 4)
			x, err := d.SampleLoop(context.Background(), allNoise, xT, diffusion.Cond{}, diffusion.SampleOptions{Sampler: diffusion.DDIM})
			if err != nil {
				log.Fatal(err)
			}
			fmt.Println(x.Shape())
		})
	})
	// Output: [1 3 4 4]
}
