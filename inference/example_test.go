package inference_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/wangkuiyi/gotorch"

	"iddpm/checkpoint"
	"iddpm/diffusion"
	"iddpm/inference"
	"iddpm/model"
	"iddpm/runconfig"
	"iddpm/train"
)

// classModel loads a class-conditional network for images of 16 pixels.
func classModel() *inference.Model {
	return bareModel("class_fixed", runconfig.Config{
		Model: model.Config{ImageSize: 16, InChannels: 3, NumChannels: 64, NumResBlocks: 1, ChannelMult: []float64{1, 1},
			AttentionResolutions: []int{8}, NumHeads: 1, ClassCond: true, NumClasses: 10},
		Diffusion: diffusion.Config{Steps: 1000, NoiseSchedule: diffusion.Linear, TimestepRespacing: "4"},
	})
}

// bareModel loads bare weights, whose configuration must be given.
func bareModel(name string, c runconfig.Config) *inference.Model {
	checkpoint, err := checkpoint.Load(filepath.Join("..", "testdata", "golden", "model", name, "model.pt"))
	if err != nil {
		log.Fatal(err)
	}
	checkpoint.Config = c
	m, err := inference.FromCheckpoint(checkpoint, inference.LoadOptions{Precision: "fp32"})
	if err != nil {
		log.Fatal(err)
	}
	return m
}

// Train for a step, and sample from the checkpoint.
func ExampleLoad() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	c := runconfig.Defaults()
	c.Model.ImageSize, c.Model.NumChannels, c.Model.NumResBlocks, c.Model.ChannelMult = 8, 32, 1, []float64{1}
	c.Train.BatchSize, c.Train.Steps = 2, 1
	t, err := train.New(c, train.Run{Dir: filepath.Join(dir, "run")})
	if err != nil {
		log.Fatal(err)
	}
	if err := errors.Join(t.Train(context.Background()), t.Close()); err != nil {
		log.Fatal(err)
	}

	m, err := inference.Load(filepath.Join(dir, "run"), inference.LoadOptions{Respacing: "10"})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Free()
	samples, err := m.Sample(context.Background(), inference.SampleOptions{Count: 3})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(samples.Len(), "images of", samples.Size, "pixels, with weights", m.Weights().Name)
	// Output: 3 images of 8 pixels, with weights of the last step
}

// Sample from a network in memory with EMA weights, as during training.
func ExampleNew() {
	config := model.Config{ImageSize: 8, InChannels: 3, NumChannels: 32, NumResBlocks: 1, ChannelMult: []float64{1}, NumHeads: 1}
	u, err := config.UNet()
	if err != nil {
		log.Fatal(err)
	}
	gotorch.Run(func() { // all tensor work is on one thread
		network, err := model.New(u, 1)
		if err != nil {
			log.Fatal(err)
		}
		var ema []gotorch.Tensor
		for _, p := range network.Tensors() {
			ema = append(ema, p.Detach().Clone())
		}
		process, err := diffusion.New(diffusion.Config{Steps: 4, NoiseSchedule: diffusion.Cosine}, gotorch.Device{})
		if err != nil {
			log.Fatal(err)
		}
		m := inference.New(network, inference.Options{Config: config, Diffusion: process})
		defer m.Free()
		network.WithWeights(ema, func() {
			samples, err := m.Sample(context.Background(), inference.SampleOptions{Count: 2})
			fmt.Println(samples.Len(), "images,", err)
		})
	})
	// Output: 2 images, <nil>
}

// Sample two classes in turn, and report the progress.
func ExampleModel_Sample() {
	m := classModel()
	defer m.Free()
	samples, err := m.Sample(context.Background(), inference.SampleOptions{
		Count: 4, BatchSize: 2, Seed: 7, Classes: []int64{3, 5},
		Progress: func(p inference.Progress) error {
			if p.T == 0 { // the last timestep of a batch
				fmt.Printf("%d of %d images\n", p.Images, p.Count)
			}
			return nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("classes", samples.Labels)
	// Output:
	// 2 of 4 images
	// 4 of 4 images
	// classes [3 5 3 5]
}

// Interpolate between the first samples of two seeds.
func ExampleModel_Interpolate() {
	m := classModel()
	defer m.Free()
	samples, err := m.Interpolate(context.Background(), 1, 2, inference.SampleOptions{Count: 5, Classes: []int64{0}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(samples.Len(), "images")
	// Output: 5 images
}

// Find the latents of samples, which DDIM turns into the images again.
func ExampleModel_Invert() {
	m := classModel()
	defer m.Free()
	o := inference.SampleOptions{Count: 2, Sampler: diffusion.DDIM, Classes: []int64{4}}
	samples, err := m.Sample(context.Background(), o)
	if err != nil {
		log.Fatal(err)
	}
	found, err := m.Invert(context.Background(), samples.Images, inference.InvertOptions{Classes: o.Classes, Refine: 2})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("latents", found.Latents.Shape, "and the PSNR of", len(found.PSNR), "reconstructions")
	// Output: latents [2 3 16 16] and the PSNR of 2 reconstructions
}

// Upsample an image from 8 to 16 pixels.
func ExampleModel_Upsample() {
	m := bareModel("superres", runconfig.Config{
		Model: model.Config{ImageSize: 16, SmallSize: 8, InChannels: 3, NumChannels: 32, NumResBlocks: 1, ChannelMult: []float64{1, 1},
			AttentionResolutions: []int{8}, NumHeads: 4, UseScaleShiftNorm: true, LearnSigma: true},
		Diffusion: diffusion.Config{Steps: 1000, NoiseSchedule: diffusion.Linear, TimestepRespacing: "4", LearnSigma: true},
	})
	defer m.Free()
	small := inference.Images{Size: 8, Pixels: make([]byte, 8*8*3)} // a black image
	samples, err := m.Upsample(context.Background(), small, inference.SampleOptions{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(samples.Len(), "image of", samples.Size, "pixels")
	// Output: 1 image of 16 pixels
}

// Evaluate the bound on the negative log-likelihood of images in memory.
func ExampleModel_Likelihood() {
	m := classModel()
	defer m.Free()
	images := inference.Images{Size: 16, Pixels: make([]byte, 2*16*16*3), Labels: []int64{1, 2}}
	sum, err := m.Likelihood(context.Background(), images.Source(), images.Len(), inference.LikelihoodOptions{})
	if err != nil {
		log.Fatal(err)
	}
	mean, stderr := diffusion.MeanAndError(sum.Total) // bits/dim
	fmt.Println(sum.Len(), "images,", len(sum.VB), "timesteps;", mean > 0, stderr > 0)
	// Output: 2 images, 4 timesteps; true true
}
