package data

import (
	"fmt"
	"testing"
)

func BenchmarkFindBatchSet(b *testing.B) {
	names := make([]string, 60_000)
	for i := range names {
		names[i] = fmt.Sprintf("cat_%05d.jpg", i)
	}
	for b.Loop() {
		if set, _ := findBatchSet(names); set != nil {
			b.Fatal(set.title)
		}
	}
}
