package train

import (
	"testing"
	"testing/fstest"
	"time"
)

func TestContentionShare(t *testing.T) {
	var c contention
	begin := time.Now()
	for _, x := range []struct {
		at, queued time.Duration
		share      float64
		known      bool
	}{
		{0, 7 * time.Second, 0, false}, // where the others are counted from
		{9 * time.Second, 15 * time.Second, 0, false},
		{20 * time.Second, 17 * time.Second, 0.5, true},
		{25 * time.Second, 18 * time.Second, 0, false},
		{40 * time.Second, 17 * time.Second, 0, true},
	} {
		share, known := c.share(begin.Add(x.at), x.queued)
		if known != x.known || known && share != x.share {
			t.Errorf("after %v: %v (known: %v), want %v (%v)", x.at, share, known, x.share, x.known)
		}
	}
}

func TestQueuedThreads(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	for name, c := range map[string]struct {
		tasks fstest.MapFS
		want  time.Duration
		known bool
	}{
		"two threads":  {fstest.MapFS{"12/schedstat": file("900 1500 3\n"), "13/schedstat": file("1 2000000 5\n")}, 2001500, true},
		"one has gone": {fstest.MapFS{"12/schedstat": file("900 1500 3\n"), "13/stat": file("")}, 1500, true},
		"not counted":  {fstest.MapFS{"12/schedstat": file("")}, 0, false},
		"no threads":   {fstest.MapFS{}, 0, false},
		"no number":    {fstest.MapFS{"12/schedstat": file("a b c")}, 0, false},
	} {
		if got, known := queuedThreads(c.tasks); got != c.want || known != c.known {
			t.Errorf("%s: %v (known: %v), want %v (%v)", name, got, known, c.want, c.known)
		}
	}
}
