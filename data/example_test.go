package data_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"

	"iddpm/data"
)

// Read the built-in emoji in batches, in an order that a seed and a position determine.
func ExampleNewLoader() {
	set, err := data.Open("", data.Options{ImageSize: 16, ClassCond: true})
	if err != nil {
		log.Fatal(err)
	}
	defer set.Close()
	loader, err := data.NewLoader(set, data.LoaderOptions{BatchSize: 4, Seed: 1, Position: 100, End: 106})
	if err != nil {
		log.Fatal(err)
	}
	defer loader.Close()
	for {
		batch, err := loader.Next(context.Background())
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("position", batch.Position, "with", len(batch.Labels), "images,", len(batch.Pixels), "bytes")
		loader.Recycle(batch)
	}
	// Output:
	// position 100 with 4 images, 3072 bytes
	// position 104 with 2 images, 1536 bytes
}
