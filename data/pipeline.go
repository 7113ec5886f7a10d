package data

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"iddpm/data/imaging"
	"iddpm/streams"
)

// pending is a batch being filled.
type pending struct {
	Batch
	missing atomic.Int64  // images yet to come
	done    chan struct{} // closed when there are none

	mu    sync.Mutex
	err   error // the first image's, in the order of the batch
	errAt int
}

// job is a run of images of a batch: positions first.. go to places at..at+len(images).
type job struct {
	batch  *pending
	at     int
	first  int64
	images []int32
}

// dispatch cuts the sequence into batches and hands their images to the
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
		if !l.send(ctx, p, order.images(first, n), first) {
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
		p.Pixels = pixels[:n*l.imageBytes()]
	default:
		p.Pixels = make([]byte, n*l.imageBytes(), l.o.BatchSize*l.imageBytes())
	}
	if l.ds.classes != nil {
		p.Labels = make([]int64, n)
	}
	return p
}

// send splits a batch into jobs, a few per worker. It reports whether all were
// taken before the loader was closed.
func (l *Loader) send(ctx context.Context, p *pending, images []int32, first int64) bool {
	run := max(len(images)/(4*l.o.Threads), 1)
	for at := 0; at < len(images); at += run {
		part := images[at:min(at+run, len(images))]
		select {
		case l.jobs <- job{batch: p, at: at, first: first + int64(at), images: part}:
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
		for k, i := range j.images {
			l.fill(j.batch, j.at+k, j.first+int64(k), int(i))
		}
		j.batch.filled(len(j.images))
	}
}

// fill puts image i, which stands at position, in its place of the batch.
func (l *Loader) fill(p *pending, place int, position int64, i int) {
	size := l.imageBytes()
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

// readSome reads image i, or, where that is bad and may be, the next good
// one; it returns which. Nothing here depends on what was read before.
func (l *Loader) readSome(dst []byte, i int, position int64) (int, error) {
	for range l.ds.Len() {
		err := l.readAugmented(dst, i, position)
		if err == nil {
			return i, nil
		}
		if err := l.ds.bad.add(l.ds.ImageName(i), err); err != nil {
			return 0, err
		}
		i = (i + 1) % l.ds.Len()
	}
	return 0, fmt.Errorf("not one image can be read: %w", l.ds.bad.error())
}

func (l *Loader) readAugmented(dst []byte, i int, position int64) (err error) {
	r := generator(l.o.Seed, streams.Augmentation, uint64(position))
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

// fitRandomly is Fit with a short side drawn from [size, size/0.8] and a crop
// anywhere: the random crop of the reference's successor, guided-diffusion.
func fitRandomly(dst []byte, p imaging.Image, size int, r *rand.PCG) error {
	longest := int(math.Ceil(float64(size) / 0.8))
	short := size + int(below(r, uint64(longest-size+1)))
	return p.FitTo(dst, size, short, func(w, h int) (x, y int) {
		y = int(below(r, uint64(h-size+1)))
		x = int(below(r, uint64(w-size+1)))
		return x, y
	})
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

// filled counts images that have come.
func (p *pending) filled(n int) {
	if p.missing.Add(int64(-n)) == 0 {
		close(p.done)
	}
}
