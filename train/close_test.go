package train

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"go.uber.org/goleak"

	"iddpm/internal/madeup"
)

// A cancelled run leaves no goroutine and no open file, whether it was cancelled between two
// steps or before the first.
func TestCancelledRunClosesEverything(t *testing.T) {
	c := madeup.Run()
	c.Data.Dir = filepath.Join("..", "data", "noto-emoji-64.zip")
	train(t, c, t.TempDir()) // starts what lives as long as the process
	for _, last := range []int{0, 2} {
		goroutines, files := goleak.IgnoreCurrent(), openFiles(t)
		ctx, cancel := context.WithCancel(t.Context())
		trainer, err := New(c, Run{Dir: t.TempDir(), Progress: func(p Progress) {
			if p.Step == last {
				cancel()
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		if last == 0 {
			cancel()
		}
		if err := trainer.Train(ctx); !errors.Is(err, ErrInterrupted) {
			t.Errorf("Train returned %v, want ErrInterrupted", err)
		}
		if err := trainer.Close(); err != nil {
			t.Fatal(err)
		}
		cancel()
		goleak.VerifyNone(t, goroutines)
		if left := openFiles(t); !slices.Equal(left, files) {
			t.Errorf("open files were %v and are %v", files, left)
		}
	}
}

// openFiles returns the paths of this process's file descriptors, sorted.
func openFiles(t *testing.T) (names []string) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		// The list includes the descriptor of the folder itself, which is closed by now.
		if name, err := os.Readlink(filepath.Join("/proc/self/fd", e.Name())); err == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
