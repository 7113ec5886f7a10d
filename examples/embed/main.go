// Command embed is a program with a diffusion model inside: it trains on images that it makes in memory,
// sees each step's loss, generates images, and measures the bits/dim of its own. It uses packages train
// and inference of iddpm; go.mod shows the two replace lines that such a program needs.
//
//	make build && cd examples/embed && go run . /tmp/embedded
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"

	"iddpm/diffusion"
	"iddpm/inference"
	"iddpm/runconfig"
	"iddpm/train"
	"iddpm/train/engine"
)

const size = 8 // pixels

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: embed RUN_DIR")
	}
	if _, err := run(context.Background(), os.Args[1], os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// run trains in a run folder, and returns four samples.
func run(ctx context.Context, dir string, out io.Writer) (inference.Samples, error) {
	images := gradients(16)
	if err := learn(ctx, dir, images, out); err != nil {
		return inference.Samples{}, err
	}
	m, err := inference.Load(dir, inference.LoadOptions{Respacing: "10"})
	if err != nil {
		return inference.Samples{}, err
	}
	defer m.Free()
	mine := inference.Images{Size: size, Pixels: images.Pixels}
	bound, err := m.Likelihood(ctx, mine.Source(), mine.Len(), inference.LikelihoodOptions{})
	if err != nil {
		return inference.Samples{}, err
	}
	mean, deviation := diffusion.MeanAndError(bound.Total)
	fmt.Fprintf(out, "%.2f ± %.2f bits/dim\n", mean, deviation)
	return m.Sample(ctx, inference.SampleOptions{Count: 4, Seed: 5})
}

// learn trains for three steps and prints the loss of each.
func learn(ctx context.Context, dir string, images *train.Images, out io.Writer) error {
	c := runconfig.Defaults()
	c.Model.ImageSize, c.Model.NumChannels, c.Model.NumResBlocks, c.Model.ChannelMult = size, 32, 1, []float64{1, 2}
	c.Train.BatchSize, c.Train.Steps = 8, 3
	step := 0
	t, err := train.New(c, train.Run{Dir: dir, Data: images, OnStep: func(r *engine.Result) error {
		step++
		fmt.Fprintf(out, "step %d: loss %.3f\n", step, r.Loss())
		return nil
	}})
	if err != nil {
		return err
	}
	return errors.Join(t.Train(ctx), t.Close())
}

// gradients returns n images whose brightness rises to the right, in n colours.
func gradients(n int) *train.Images {
	s := &train.Images{Title: "gradients", Size: size}
	for i := range n {
		for at := range size * size {
			right := at % size * 255 / (size - 1)
			s.Pixels = append(s.Pixels, byte(right), byte(right*i/n), byte(right*(n-i)/n))
		}
	}
	return s
}
