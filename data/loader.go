package data

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
)

// LoaderOptions say which pictures a loader hands out. BatchSize is required.
type LoaderOptions struct {
	// BatchSize is the number of pictures in a batch of this rank.
	BatchSize int

	// Seed decides the order of the pictures and their augmentation.
	Seed uint64

	// Position is where to start in the endless sequence of pictures: 0, or what
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

	// Deterministic keeps the pictures in the set's own order.
	Deterministic bool

	// Flip mirrors every other picture, on average.
	Flip bool

	// RandomCrop crops anywhere, from a picture scaled by up to 1.25, instead of
	// from the centre. Such pictures are not cached.
	RandomCrop bool
}

// Batch is a batch of pictures.
type Batch struct {
	Pixels   []byte  // [N, ImageSize, ImageSize, 3]: picture, row, column, RGB; 0..255
	Labels   []int64 // [N], 0..NumClasses-1; nil without classes
	Position int64   // of the step's first picture, on whichever rank it is
}

// Loader hands out batches in order, and decodes the next ones meanwhile.
//
// The pictures form one endless sequence, epoch after epoch; position p holds
// picture permutation(seed, p/Len)[p%Len], with an augmentation that depends
// on (seed, p) alone. So batches do not depend on the number of threads, one
// position says where to go on, and no picture is lost where an epoch ends
// within a batch.
type Loader struct {
	ds    *Dataset
	o     LoaderOptions
	ready chan *pending // in order, its capacity bounds how far decoding runs ahead
	jobs  chan job
	stop  context.CancelFunc
	wg    sync.WaitGroup
	free  chan []byte // recycled pixels

	head     *pending // the next batch, taken from ready but not yet handed out
	position int64    // of the next batch that Next returns
	err      error    // what Next goes on returning
}

// pending is a batch being filled.
type pending struct {
	Batch
	missing atomic.Int64  // pictures yet to come
	done    chan struct{} // closed when there are none

	mu    sync.Mutex
	err   error // the first picture's, in the order of the batch
	errAt int
}

// job is a run of pictures of a batch: positions first.. go to places at..at+len(pictures).
type job struct {
	batch    *pending
	at       int
	first    int64
	pictures []int32
}

// ahead is how many batches are decoded beyond the one handed out.
const ahead = 3

// NewLoader starts a loader on ds, which must outlive it. It is to be closed.
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

// Next returns the next batch. It waits for pictures to be decoded, or for ctx.
// The sequence's end is io.EOF; a picture that cannot be read, and that
// MaxBadImages does not allow for, ends the sequence with an error that names it.
func (l *Loader) Next(ctx context.Context) (Batch, error) {
	if l.err != nil {
		return Batch{}, l.err
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

// Position returns where to start a loader that goes on after the last batch
// that Next returned. It is the same on every rank.
func (l *Loader) Position() int64 { return l.position }

// Recycle lets the loader use a batch's pixels again; the caller must not.
func (l *Loader) Recycle(b Batch) {
	if cap(b.Pixels) < l.o.BatchSize*l.pictureBytes() {
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
	for range l.ready { // lets dispatch go on to see that it is to stop
	}
	l.wg.Wait()
	if l.err == nil {
		l.err = errClosed
	}
}

var errClosed = errors.New("the loader is closed")

// step is how many positions a step takes, on all ranks.
func (l *Loader) step() int64 { return int64(l.o.BatchSize) * int64(l.o.WorldSize) }

func (l *Loader) pictureBytes() int { return l.ds.size * l.ds.size * 3 }

// dispatch cuts the sequence into batches and hands their pictures to the
// workers, as far ahead as ready has room.
func (l *Loader) dispatch(ctx context.Context) {
	defer close(l.jobs)
	defer close(l.ready)
	order := ordering{seed: l.o.Seed, n: l.ds.Len(), sequential: l.o.Deterministic}
	for at := l.o.Position; ; at += l.step() {
		first := at + int64(l.o.Rank)*int64(l.o.BatchSize)
		n := l.o.BatchSize
		if l.o.End > 0 {
			n = int(min(int64(n), l.o.End-first))
		}
		if n <= 0 {
			return
		}
		p := l.newPending(at, n)
		select {
		case l.ready <- p:
		case <-ctx.Done():
			return
		}
		if !l.send(ctx, p, order.pictures(first, n), first) {
			return
		}
	}
}

func (l *Loader) newPending(at int64, n int) *pending {
	p := &pending{done: make(chan struct{})}
	p.missing.Store(int64(n))
	p.Position = at
	select {
	case pixels := <-l.free:
		p.Pixels = pixels[:n*l.pictureBytes()]
	default:
		p.Pixels = make([]byte, n*l.pictureBytes(), l.o.BatchSize*l.pictureBytes())
	}
	if l.ds.labels != nil {
		p.Labels = make([]int64, n)
	}
	return p
}

// send splits a batch into jobs, a few per worker. It reports whether all were
// taken before the loader was closed.
func (l *Loader) send(ctx context.Context, p *pending, pictures []int32, first int64) bool {
	run := max(len(pictures)/(4*l.o.Threads), 1)
	for at := 0; at < len(pictures); at += run {
		part := pictures[at:min(at+run, len(pictures))]
		select {
		case l.jobs <- job{batch: p, at: at, first: first + int64(at), pictures: part}:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// work decodes until there are no more jobs, or nobody waits for them.
func (l *Loader) work(ctx context.Context) {
	for j := range l.jobs {
		if ctx.Err() != nil {
			return
		}
		for k, i := range j.pictures {
			l.fill(j.batch, j.at+k, j.first+int64(k), int(i))
		}
		j.batch.filled(len(j.pictures))
	}
}

// fill puts picture i, which stands at position, in its place of the batch.
func (l *Loader) fill(p *pending, place int, position int64, i int) {
	size := l.pictureBytes()
	dst := p.Pixels[place*size : (place+1)*size]
	i, err := l.readSome(dst, i, position)
	if err != nil {
		p.fail(place, err)
		return
	}
	if p.Labels != nil {
		p.Labels[place] = l.ds.Label(i)
	}
}

// readSome reads picture i, or, where that is bad and may be, the next good
// one; it returns which. Nothing here depends on what was read before.
func (l *Loader) readSome(dst []byte, i int, position int64) (int, error) {
	for range l.ds.Len() {
		err := l.readAugmented(dst, i, position)
		if err == nil {
			return i, nil
		}
		if err := l.ds.bad.add(l.ds.PictureName(i), err); err != nil {
			return 0, err
		}
		i = (i + 1) % l.ds.Len()
	}
	return 0, fmt.Errorf("not one picture can be read: %w", l.ds.bad.error())
}

func (l *Loader) readAugmented(dst []byte, i int, position int64) (err error) {
	r := generator(l.o.Seed, forAugmentation, uint64(position))
	flip := below(r, 2) == 1
	if l.o.RandomCrop {
		err = l.ds.readCropped(dst, i, r)
	} else {
		err = l.ds.read(dst, i)
	}
	if err == nil && l.o.Flip && flip {
		mirror(dst, l.ds.size)
	}
	return err
}

// mirror flips [size, size, 3] left to right.
func mirror(pix []byte, size int) {
	for y := range size {
		row := pix[y*size*3 : (y+1)*size*3]
		for a, b := 0, len(row)-3; a < b; a, b = a+3, b-3 {
			for k := range 3 {
				row[a+k], row[b+k] = row[b+k], row[a+k]
			}
		}
	}
}

// fail notes an error at a place of the batch; the first place's is kept.
func (p *pending) fail(place int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil || place < p.errAt {
		p.err, p.errAt = err, place
	}
}

// filled counts pictures that have come.
func (p *pending) filled(n int) {
	if p.missing.Add(int64(-n)) == 0 {
		close(p.done)
	}
}
