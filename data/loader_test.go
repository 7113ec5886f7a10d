package data

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
)

// small is a folder of n images, four to a class, whose pixels are their numbers.
func small(t testing.TB, n int) string {
	files := map[string][]byte{}
	for i := range n {
		files[fmt.Sprintf("class%02d_%03d.png", i/4, i)] = numbered(i)
	}
	return folder(t, files)
}

// loaded reads batches from a new loader and returns the images' values.
func loaded(t testing.TB, ds *Dataset, o LoaderOptions, batches int) [][]byte {
	t.Helper()
	l, err := NewLoader(ds, o)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var all [][]byte
	for range batches {
		b, err := l.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, values(ds, b))
		l.Recycle(b)
	}
	return all
}

// values returns the first byte of each image of a batch.
func values(ds *Dataset, b Batch) []byte {
	var v []byte
	for at := 0; at < len(b.Pixels); at += ds.size * ds.size * 3 {
		v = append(v, b.Pixels[at])
	}
	return v
}

func TestPermutation(t *testing.T) {
	// The meaning of a position must not change with the Go release.
	for _, c := range []struct {
		seed, epoch uint64
		want        []int32
	}{
		{0, 0, []int32{1, 8, 6, 4, 9, 7, 0, 2, 3, 5}},
		{0, 1, []int32{2, 8, 6, 4, 7, 1, 5, 3, 9, 0}},
		{1, 0, []int32{5, 4, 9, 3, 2, 6, 7, 8, 1, 0}},
	} {
		got := permutation(c.seed, c.epoch, 10)
		if !slices.Equal(got, c.want) {
			t.Errorf("permutation(%d, %d, 10) = %v, want %v", c.seed, c.epoch, got, c.want)
		}
	}
	order := slices.Sorted(slices.Values(permutation(3, 5, 1000)))
	for i, v := range order {
		if int(v) != i {
			t.Fatalf("not a permutation: %d at %d", v, i)
		}
	}
}

// TestPermutationIsUniform counts the positions of five images over many epochs. Each
// count is binomial; the bound is about six standard deviations.
func TestPermutationIsUniform(t *testing.T) {
	const n, epochs = 5, 20000
	var at [n][n]int
	for e := range epochs {
		for place, i := range permutation(9, uint64(e), n) {
			at[place][i]++
		}
	}
	for place := range n {
		for i, count := range at[place] {
			if d := count - epochs/n; d < -340 || d > 340 {
				t.Errorf("image %d is at %d in %d of %d epochs", i, place, count, epochs)
			}
		}
	}
}

func TestLoaderIsTheConcatenationOfEpochs(t *testing.T) {
	ds := open(t, small(t, 10), Options{ImageSize: 4})
	const batch, batches = 4, 10
	var want []byte
	for epoch := range uint64(4) {
		for _, i := range permutation(7, epoch, 10) {
			want = append(want, byte(i))
		}
	}
	for _, threads := range []int{1, 3, 16} {
		got := slices.Concat(loaded(t, ds, LoaderOptions{BatchSize: batch, Seed: 7, Threads: threads}, batches)...)
		if !bytes.Equal(got, want[:batch*batches]) {
			t.Errorf("%d threads: %v, want %v", threads, got, want[:batch*batches])
		}
	}
}

func TestLoaderResumes(t *testing.T) {
	ds := open(t, small(t, 7), Options{ImageSize: 4, CacheBytes: -1})
	o := LoaderOptions{BatchSize: 3, Seed: 1, Flip: true, RandomCrop: true}
	whole := loaded(t, ds, o, 8)
	l, err := NewLoader(ds, o)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := l.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	o.Position = l.Position()
	l.Close()
	if o.Position != 9 {
		t.Errorf("position %d after 3 batches of 3", o.Position)
	}
	for k, got := range loaded(t, ds, o, 5) {
		if !bytes.Equal(got, whole[3+k]) {
			t.Errorf("batch %d: %v, want %v", 3+k, got, whole[3+k])
		}
	}
}

func TestRanksShareTheSequence(t *testing.T) {
	ds := open(t, small(t, 10), Options{ImageSize: 4})
	alone := loaded(t, ds, LoaderOptions{BatchSize: 6, Seed: 5}, 7)
	var ranks [3][][]byte
	for r := range ranks {
		ranks[r] = loaded(t, ds, LoaderOptions{BatchSize: 2, Seed: 5, Rank: r, WorldSize: 3}, 7)
	}
	for k, want := range alone {
		if got := slices.Concat(ranks[0][k], ranks[1][k], ranks[2][k]); !bytes.Equal(got, want) {
			t.Errorf("step %d: %v, want %v", k, got, want)
		}
	}
}

func TestDeterministicOrderEnds(t *testing.T) {
	ds := open(t, small(t, 10), Options{ImageSize: 4, ClassCond: true})
	for world, want := range map[int][][]byte{1: {{0, 1, 2, 3}, {4, 5, 6, 7}, {8, 9}}, 2: {{0, 1, 2, 3}, {8, 9}}} {
		l, err := NewLoader(ds, LoaderOptions{BatchSize: 4, Deterministic: true, End: int64(ds.Len()), WorldSize: world})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		for k, w := range want {
			b, err := l.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got := values(ds, b); !bytes.Equal(got, w) || b.Position != int64(4*k*world) {
				t.Errorf("world %d: %v at %d, want %v", world, got, b.Position, w)
			}
			for k, label := range b.Labels {
				if label != int64(w[k]/4) {
					t.Errorf("world %d: labels %v for %v", world, b.Labels, w)
				}
			}
			if len(b.Labels) != len(w) {
				t.Errorf("world %d: %d labels for %d images", world, len(b.Labels), len(w))
			}
		}
		for range 2 {
			if _, err := l.Next(t.Context()); err != io.EOF {
				t.Errorf("world %d: after the last batch: %v, want io.EOF", world, err)
			}
		}
	}
}

func TestAugmentation(t *testing.T) {
	dir := "../testdata/golden/image"
	plain := open(t, dir, Options{ImageSize: 24})
	run := func(o LoaderOptions) []byte {
		o.BatchSize, o.Seed, o.Deterministic = 25, 4, true
		l, err := NewLoader(plain, o)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		b, err := l.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return b.Pixels
	}
	const size = 24 * 24 * 3
	base, flipped := run(LoaderOptions{}), run(LoaderOptions{Flip: true})
	count := 0
	for at := 0; at < len(base); at += size {
		want := slices.Clone(base[at : at+size])
		if !bytes.Equal(flipped[at:at+size], want) {
			count++
			mirror(want, 24)
		}
		if !bytes.Equal(flipped[at:at+size], want) {
			t.Errorf("image %d is neither itself nor its mirror image", at/size)
		}
	}
	if count < 5 || count > 20 {
		t.Errorf("%d of 25 images were flipped", count)
	}
	cropped := run(LoaderOptions{RandomCrop: true})
	if bytes.Equal(cropped, base) {
		t.Error("random crops are centre crops")
	}
	if !bytes.Equal(cropped, run(LoaderOptions{RandomCrop: true, Threads: 1})) {
		t.Error("random crops depend on the number of threads")
	}
	if first := cropped[:size]; bytes.Equal(first, cropped[5*size:6*size]) {
		t.Error("an image is cropped the same in every epoch")
	}
}

func TestMirror(t *testing.T) {
	pix := []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 16, 17, 18, 19, 0, 0, 0, 1, 1, 1, 2, 2, 2}
	want := []byte{7, 8, 9, 4, 5, 6, 1, 2, 3, 17, 18, 19, 14, 15, 16, 11, 12, 13, 2, 2, 2, 1, 1, 1, 0, 0, 0}
	if mirror(pix, 3); !bytes.Equal(pix, want) {
		t.Errorf("%v, want %v", pix, want)
	}
}

// TestBadImagesInLoader has images with valid headers and truncated pixels.
func TestBadImagesInLoader(t *testing.T) {
	cut := numbered(200)
	cut = cut[:len(cut)-30]
	dir := folder(t, map[string][]byte{"a.png": numbered(1), "b.png": cut, "c.png": numbered(3), "d.png": cut})
	o := LoaderOptions{BatchSize: 4, Deterministic: true}
	for _, threads := range []int{1, 4} {
		o.Threads = threads
		ds := open(t, dir, Options{ImageSize: 4, MaxBadImages: 2})
		if got := loaded(t, ds, o, 2); !bytes.Equal(got[0], []byte{1, 3, 3, 1}) || !bytes.Equal(got[1], got[0]) {
			t.Errorf("%v, want each bad image replaced by the next good one", got)
		}
		if bad := ds.Bad(); len(bad) != 2 || bad[0].Name != "b.png" || bad[1].Name != "d.png" {
			t.Errorf("bad images %v", bad)
		}
	}
	ds := open(t, dir, Options{ImageSize: 4})
	l, err := NewLoader(ds, o)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = l.Next(t.Context())
	if err == nil || !strings.Contains(err.Error(), "b.png: corrupt png") {
		t.Errorf("error %v does not name b.png", err)
	}
	if _, again := l.Next(t.Context()); again != err {
		t.Errorf("after an error: %v", again)
	}
	all := open(t, folder(t, map[string][]byte{"a.png": cut, "b.png": cut}), Options{ImageSize: 4, MaxBadImages: 9})
	l2, err := NewLoader(all, o)
	if err != nil {
		t.Fatal(err)
	}
	defer l2.Close()
	if _, err := l2.Next(t.Context()); err == nil || !strings.Contains(err.Error(), "not one image") {
		t.Errorf("a set of bad images alone: %v", err)
	}
}

func TestNextCanBeCancelled(t *testing.T) {
	ds := open(t, small(t, 10), Options{ImageSize: 4})
	l, err := NewLoader(ds, LoaderOptions{BatchSize: 4, Seed: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var got [][]byte
	for len(got) < 3 {
		// A cancelled wait may succeed if the batch is ready; it never loses one.
		b, err := l.Next(ctx)
		if errors.Is(err, context.Canceled) {
			b, err = l.Next(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, values(ds, b))
	}
	want := loaded(t, ds, LoaderOptions{BatchSize: 4, Seed: 2}, 3)
	for k := range want {
		if !bytes.Equal(got[k], want[k]) {
			t.Errorf("batch %d: %v, want %v", k, got[k], want[k])
		}
	}
}

// TestClose closes loaders in every stage; TestMain checks that no
// goroutine is left.
func TestClose(t *testing.T) {
	ds := open(t, small(t, 10), Options{ImageSize: 4})
	for n := range 20 {
		l, err := NewLoader(ds, LoaderOptions{BatchSize: 1 + n, Threads: 1 + n%4})
		if err != nil {
			t.Fatal(err)
		}
		for range n % 5 {
			if _, err := l.Next(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		l.Close()
		l.Close()
		if _, err := l.Next(t.Context()); !errors.Is(err, errClosed) {
			t.Errorf("after Close: %v", err)
		}
	}
}

// TestLoaderWaits checks that prefetching is limited to a few batches: a full pipeline
// reads nothing more.
func TestLoaderWaits(t *testing.T) {
	ds := open(t, small(t, 200), Options{ImageSize: 4})
	l, err := NewLoader(ds, LoaderOptions{BatchSize: 1, Deterministic: true, Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	read := func() (n int) {
		for i := range ds.cache.state {
			if ds.cache.state[i].Load() == present {
				n++
			}
		}
		return n
	}
	deadline := time.Now().Add(10 * time.Second)
	for read() < ahead && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(20 * time.Millisecond)
	// A full pipeline has ahead ready batches; the dispatcher has one more, not yet sent.
	if n := read(); n < ahead || n > ahead+1 {
		t.Errorf("%d images were read ahead, want %d", n, ahead)
	}
}

func TestLoaderOptions(t *testing.T) {
	ds := open(t, small(t, 3), Options{ImageSize: 4})
	for want, o := range map[string]LoaderOptions{
		"batch size 0":  {},
		"batch size -1": {BatchSize: -1},
		"rank 2":        {BatchSize: 1, Rank: 2, WorldSize: 2},
		"rank -1":       {BatchSize: 1, Rank: -1},
		"position -5":   {BatchSize: 1, Position: -5},
	} {
		l, err := NewLoader(ds, o)
		if err == nil {
			l.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}

// TestLoaderStopsAtOnce calls Next with a cancelled context while batches are ready.
func TestLoaderStopsAtOnce(t *testing.T) {
	ds := open(t, small(t, 20), Options{ImageSize: 4})
	l, err := NewLoader(ds, LoaderOptions{BatchSize: 2, Deterministic: true})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := l.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	cancel(why)
	for range 100 {
		if b, err := l.Next(ctx); !errors.Is(err, why) {
			t.Fatalf("batch at %d, error %v", b.Position, err)
		}
	}
	if b, err := l.Next(t.Context()); err != nil || b.Position != 2 { // nothing is lost
		t.Errorf("batch at %d, error %v", b.Position, err)
	}
}
