package evaluate

import (
	"context"
	"fmt"
	"slices"

	"github.com/wangkuiyi/gotorch"
)

// Set accumulates the Inception features of a set of images. It must be used on the
// tensor thread.
type Set struct {
	network  *Inception
	features gotorch.Tensor // [size, 2048], on the network's device; the first n are filled
	n        int64
	pool     *moments
	spatial  *moments
}

// NewSet allocates a set for a number of images. It belongs to the caller's scope, or must
// be freed.
func (n *Inception) NewSet(images int) *Set {
	return &Set{
		network: n, features: gotorch.EmptyOn(n.device, gotorch.Float, int64(images), PoolFeatures),
		pool: newMoments(PoolFeatures, n.device), spatial: newMoments(SpatialFeatures, n.device),
	}
}

// Add adds images, bytes [N, size, size, 3].
func (s *Set) Add(pixels []byte, size int) error {
	count := int64(len(pixels) / (3 * size * size))
	if s.n+count > s.features.Size(0) {
		return fmt.Errorf("there is room for %d images, not for %d", s.features.Size(0), s.n+count)
	}
	gotorch.Scope(func() {
		pool, spatial := s.network.Features(gotorch.FromBytes(pixels, gotorch.Byte, count, int64(size), int64(size), 3))
		s.features.Narrow(0, s.n, count).CopyI(pool)
		s.pool.Add(pool)
		s.spatial.Add(spatial)
	})
	s.n += count
	return nil
}

// AddAll adds images, bytes [N, size, size, 3], in batches. each may be nil: it is called before every
// batch with the number of images so far. Once ctx has ended it returns its error after the current batch.
func (s *Set) AddAll(ctx context.Context, pixels []byte, size int, each func(done int)) error {
	done := 0
	for batch := range slices.Chunk(pixels, defaultBatchSize(s.network.device)*3*size*size) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if each != nil {
			each(done)
		}
		if err := s.Add(batch, size); err != nil {
			return err
		}
		done += len(batch) / (3 * size * size)
	}
	return nil
}

// Len returns how many images were added.
func (s *Set) Len() int { return int(s.n) }

// Features returns the pooled features [N, 2048] of the added images.
func (s *Set) Features() gotorch.Tensor { return s.features.Narrow(0, 0, s.n) }

// Pool returns the statistics of the pooled features: FID's.
func (s *Set) Pool() (Statistics, error) { return s.pool.Statistics() }

// Spatial returns the statistics of the spatial features: sFID's.
func (s *Set) Spatial() (Statistics, error) { return s.spatial.Statistics() }

// Free frees the tensors.
func (s *Set) Free() {
	s.features.Free()
	s.pool.Free()
	s.spatial.Free()
}

func defaultBatchSize(device gotorch.Device) int {
	if device.Type == gotorch.CUDA {
		return 64
	}
	return 16
}
