package data

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
)

// LoaderOptions are the options of a Loader. BatchSize is required.
type LoaderOptions struct {
	// BatchSize is the number of images in a batch of this rank.
	BatchSize int

	// Seed is the random seed of the image order and of data augmentation.
	Seed uint64

	// Position is where to start in the endless sequence of images: 0, or what
	// Loader.Position returned when a checkpoint was written.
	Position int64

	// End, if positive, is the position before which the sequence ends: Next
	// then returns io.EOF, and the last batch may be short.
	End int64

	// Threads is how many goroutines decode; 0 means one per core.
	Threads int

	// Rank of WorldSize processes that share the sequence: of the
	// BatchSize*WorldSize positions of a step, this one takes the Rank-th
	// BatchSize. A WorldSize of 0 means 1.
	Rank, WorldSize int

	// Deterministic disables shuffling: images are in the set's order.
	Deterministic bool

	// Flip mirrors each image with probability 1/2.
	Flip bool

	// RandomCrop crops at a random place, from an image scaled by up to 1.25, instead of
	// at the centre. Such images are not cached.
	RandomCrop bool
}

// Batch is a batch of images.
type Batch struct {
	Pixels   []byte  // [N, ImageSize, ImageSize, 3]: image, row, column, RGB; 0..255
	Labels   []int64 // [N], 0..NumClasses-1; nil without classes
	Position int64   // of the step's first image, on whichever rank it is
}

// Loader returns batches in order and prefetches the next ones.
//
// The images form one endless sequence, epoch after epoch; position p holds
// image permutation(seed, p/Len)[p%Len], with an augmentation that depends
// on (seed, p) alone. So batches do not depend on the number of threads, one
// position is enough to resume, and no image is dropped if an epoch ends
// within a batch.
type Loader struct {
	ds    *Dataset
	o     LoaderOptions
	ready chan *pending // in order; its capacity bounds how far decoding prefetches
	jobs  chan job
	stop  context.CancelFunc
	wg    sync.WaitGroup
	free  chan []byte // recycled pixels

	head     *pending // the next batch, received from ready but not yet returned
	position int64    // of the next batch that Next returns
	err      error    // sticky error of Next
}

// ahead is the number of prefetched batches.
const ahead = 3

// NewLoader starts a loader on ds, which must outlive it. The caller must close it.
func NewLoader(ds *Dataset, o LoaderOptions) (*Loader, error) {
	if o.WorldSize == 0 {
		o.WorldSize = 1
	}
	if o.Threads <= 0 {
		o.Threads = runtime.GOMAXPROCS(0)
	}
	switch {
	case o.BatchSize < 1:
		return nil, fmt.Errorf("batch size %d is not positive", o.BatchSize)
	case o.Rank < 0 || o.Rank >= o.WorldSize:
		return nil, fmt.Errorf("rank %d is not of 0..%d", o.Rank, o.WorldSize-1)
	case o.Position < 0:
		return nil, fmt.Errorf("position %d in the data is negative", o.Position)
	}
	ctx, stop := context.WithCancel(context.Background())
	l := &Loader{
		ds: ds, o: o, stop: stop, position: o.Position,
		ready: make(chan *pending, ahead),
		jobs:  make(chan job, o.Threads),
		free:  make(chan []byte, ahead+1),
	}
	l.wg.Go(func() { l.dispatch(ctx) })
	for range o.Threads {
		l.wg.Go(func() { l.work(ctx) })
	}
	return l, nil
}

// Next returns the next batch. It blocks until the images are decoded or ctx ends.
// At the end of the sequence it returns io.EOF. An unreadable image beyond
// MaxBadImages ends the sequence with an error that names it.
func (l *Loader) Next(ctx context.Context) (Batch, error) {
	if l.err != nil {
		return Batch{}, l.err
	}
	if ctx.Err() != nil { // select might still choose a batch that is ready
		return Batch{}, context.Cause(ctx)
	}
	p, err := l.await(ctx)
	if err != nil {
		return Batch{}, err
	}
	l.head = nil
	if l.err = p.err; l.err != nil {
		return Batch{}, l.err
	}
	l.position = p.Position + l.step()
	return p.Batch, nil
}

// await waits until the next batch is filled. It stays the head when ctx ends first.
func (l *Loader) await(ctx context.Context) (*pending, error) {
	if l.head == nil {
		select {
		case p, open := <-l.ready:
			if !open {
				l.err = io.EOF
				return nil, l.err
			}
			l.head = p
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	select {
	case <-l.head.done:
		return l.head, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Position returns the position from which a new loader continues after the last
// batch that Next returned. It is the same on every rank.
func (l *Loader) Position() int64 { return l.position }

// Recycle lets the loader reuse a batch's pixels; the caller must not use them any more.
func (l *Loader) Recycle(b Batch) {
	if cap(b.Pixels) < l.o.BatchSize*l.imageBytes() {
		return
	}
	select {
	case l.free <- b.Pixels:
	default:
	}
}

// Close stops the loader and waits for its goroutines. It must not be called
// while Next runs.
func (l *Loader) Close() {
	l.stop()
	for range l.ready { // unblock dispatch, so that it sees the cancellation
	}
	l.wg.Wait()
	if l.err == nil {
		l.err = errClosed
	}
}

var errClosed = errors.New("the loader is closed")

// step is the number of positions per step, over all ranks.
func (l *Loader) step() int64 { return int64(l.o.BatchSize) * int64(l.o.WorldSize) }

func (l *Loader) imageBytes() int { return l.ds.size * l.ds.size * 3 }
