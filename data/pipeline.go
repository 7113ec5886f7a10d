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
	missing atomic.Int64  // images not yet decoded
	done    chan struct{} // closed when missing is 0

	mu    sync.Mutex
	err   error // of the first failed image, in batch order
	errAt int
}

// job is a range of images of a batch: positions first.. go to places at..at+len(images).
type job struct {
	batch  *pending
	at     int
	first  int64
	images []int32
}

// dispatch divides the sequence into batches and sends their images to the
// workers, as far ahead as ready has capacity.
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
// accepted before the loader was closed.
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

// work decodes until there are no more jobs or the loader is closed.
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

// fill writes image i, which is at position of the sequence, to its place in the batch.
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

// readSome reads image i or, if that is unreadable and MaxBadImages allows it, the
// next readable one. It returns which. The result does not depend on earlier reads.
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

// fitRandomly is Fit with a random short side in [size, size/0.8] and a crop at a
// random place: the random crop of the reference's successor, guided-diffusion.
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

// fail stores an error at a place of the batch; that of the first place is kept.
func (p *pending) fail(place int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil || place < p.errAt {
		p.err, p.errAt = err, place
	}
}

// filled counts decoded images.
func (p *pending) filled(n int) {
	if p.missing.Add(int64(-n)) == 0 {
		close(p.done)
	}
}

// readCropped writes a random crop of image i to dst. It needs the whole image, so it
// bypasses the cache.
func (d *Dataset) readCropped(dst []byte, i int, r *rand.PCG) error {
	return d.img(i, func(p imaging.Image) error { return fitRandomly(dst, p, d.size, r) })
}
