package train_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"iddpm/runconfig"
	"iddpm/train"
	"iddpm/train/engine"
)

// smallest is a network that trains in milliseconds.
func smallest() runconfig.Config {
	c := runconfig.Defaults()
	c.Model.ImageSize, c.Model.NumChannels, c.Model.NumResBlocks, c.Model.ChannelMult = 4, 32, 1, []float64{1}
	c.Train.BatchSize, c.Train.Steps = 2, 2
	return c
}

// Train on images in memory, see each step, and resume with more steps.
func ExampleNew() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	images := &train.Images{Title: "two grey images", Size: 4, Pixels: append(make([]byte, 48), bytesOf(200, 48)...)}
	run := train.Run{Dir: filepath.Join(dir, "run"), Data: images, OnStep: func(r *engine.Result) error {
		fmt.Println("finite loss:", r.Loss() > 0)
		return nil
	}}
	t, err := train.New(smallest(), run)
	if err != nil {
		log.Fatal(err)
	}
	if err := errors.Join(t.Train(context.Background()), t.Close()); err != nil {
		log.Fatal(err)
	}
	more := func(c *runconfig.Config) error { c.Train.Steps = 3; return nil }
	if t, err = train.Resume(run.Dir, more, run); err != nil {
		log.Fatal(err)
	}
	err = t.Train(context.Background())
	fmt.Println("step", t.Summary().Step, errors.Join(err, t.Close()))
	// Output:
	// finite loss: true
	// finite loss: true
	// finite loss: true
	// step 3 <nil>
}

func bytesOf(value byte, n int) []byte {
	all := make([]byte, n)
	for i := range all {
		all[i] = value
	}
	return all
}
