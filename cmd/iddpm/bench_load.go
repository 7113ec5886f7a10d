package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"runtime"
	"time"

	urfave "github.com/urfave/cli/v2"

	"iddpm/data"
	"iddpm/internal/cli"
	"iddpm/runconfig"
)

// loadOptions are the flags of bench load.
type loadOptions struct {
	config    runconfig.DataConfig
	size      int
	batchSize int
	workers   int
	epochs    int
}

// newLoadOptions returns the image size and batch size of benchConfig, and one worker per core.
func newLoadOptions() *loadOptions {
	return &loadOptions{config: runconfig.DataConfig{Cache: "none"}, size: 32, batchSize: 8, epochs: 1}
}

func (o *loadOptions) options() []cli.Option {
	return []cli.Option{
		{Name: "data-dir", Category: cli.CategoryData, Local: true, Value: &o.config.Dir, Standard: "the built-in emoji", Usage: "read the images in `DIR`, or any other source that train accepts"},
		{Name: "image-size", Category: cli.CategoryData, Value: &o.size, Usage: "preprocess images to `N` x N pixels (resize and center crop)"},
		{Name: "jpeg-decoder", Category: cli.CategoryData, Value: &o.config.JPEGDecoder, Standard: "auto", Usage: "JPEG decoder `NAME`: turbo, go or auto"},
		{Name: "cache", Category: cli.CategoryData, Value: &o.config.Cache, Usage: "cache decoded images in memory, `SIZE` as for train, and time the epochs after the first"},
		{Name: "batch-size", Category: cli.CategoryTraining, Value: &o.batchSize, Usage: "`N` images per batch"},
		{Name: "workers", Category: cli.CategoryRun, Value: &o.workers, Usage: "decode with `N` threads (0: one per core)"},
		{Name: "epochs", Category: cli.CategoryRun, Value: &o.epochs, Usage: "time `N` epochs"},
		cli.ConfigOption(),
	}
}

func (p *program) benchLoadCommand() *urfave.Command {
	return &urfave.Command{
		Name:      "load",
		Usage:     "time the data loader",
		UsageText: "iddpm bench load [FLAGS]",
		Description: `Loads images as training does, shuffled, and reports images per second over an epoch, including the
start of the loader.

Examples:
  iddpm bench load --data-dir photos --image-size 64 --batch-size 128
  iddpm bench load --data-dir photos --image-size 64 --batch-size 128 --cache auto --epochs 20`,
		Flags:           cli.FlagsOf(newLoadOptions().options()...),
		HideHelpCommand: true,
		Action:          p.benchLoad,
	}
}

// loadResult has the fields that bench/compare.py reads for both iddpm and the
// reference.
type loadResult struct {
	What            string  `json:"what"`
	Workers         int     `json:"workers"`
	ImageSize       int     `json:"image_size"`
	BatchSize       int     `json:"batch_size"`
	Images          int     `json:"images"`
	ImagesPerSecond float64 `json:"images_per_second"`
	Cached          bool    `json:"cached"`
	JPEGDecoder     string  `json:"jpeg_decoder,omitempty"`
}

func (p *program) benchLoad(c *urfave.Context) error {
	o := newLoadOptions()
	if err := errors.Join(noArgument(c), cli.Apply(c, o.options())); err != nil {
		return err
	}
	if min(o.size, o.batchSize, o.epochs) < 1 || o.workers < 0 {
		return cli.Errorf("--image-size, --batch-size and --epochs must be above 0 and --workers not below, but they are %d, %d, %d and %d", o.size, o.batchSize, o.epochs, o.workers)
	}
	if err := o.config.Validate(); err != nil {
		return cli.Usage(err)
	}
	config := runconfig.Config{Data: o.config}
	config.Model.ImageSize = o.size
	set, err := data.Open(o.config.Dir, config.DataOptions())
	if err != nil {
		return err
	}
	defer set.Close()
	result, err := o.time(c.Context, set)
	if err != nil {
		return err
	}
	return json.NewEncoder(p.stdout).Encode(result)
}

// time times the reading of the set; if it is cached, after one epoch that fills the cache. The time
// includes the start of the loader, which decodes ahead, perhaps all of a small set.
func (o *loadOptions) time(ctx context.Context, set *data.Dataset) (loadResult, error) {
	r := loadResult{
		What: "load", Workers: cmp.Or(o.workers, runtime.GOMAXPROCS(0)), ImageSize: o.size, BatchSize: o.batchSize,
		Cached: set.Cached(), JPEGDecoder: set.JPEGDecoder(),
	}
	if r.Cached {
		if err := o.read(ctx, set, r.Workers, batches(set.Len(), o.batchSize)); err != nil {
			return r, err
		}
	}
	batches := max(o.epochs*set.Len()/o.batchSize, 1)
	start := time.Now()
	err := o.read(ctx, set, r.Workers, batches)
	r.Images = batches * o.batchSize
	r.ImagesPerSecond = float64(r.Images) / time.Since(start).Seconds()
	return r, err
}

// read starts a loader and reads batches.
func (o *loadOptions) read(ctx context.Context, set *data.Dataset, workers, batches int) error {
	loader, err := data.NewLoader(set, data.LoaderOptions{BatchSize: o.batchSize, Threads: workers})
	if err != nil {
		return err
	}
	defer loader.Close()
	for range batches {
		batch, err := loader.Next(ctx)
		if err != nil {
			return err
		}
		loader.Recycle(batch)
	}
	return nil
}
