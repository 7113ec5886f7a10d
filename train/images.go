package train

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"

	"iddpm/data"
	"iddpm/streams"
)

// Images is a set of RGB images in memory, for [Run.Data]. The order of the images in an epoch
// is a function of (seed, epoch).
type Images struct {
	Title      string   // for the log and checkpoints
	Size       int      // height and width, in pixels
	Pixels     []byte   // [N, Size, Size, 3], 0..255
	Labels     []int64  // [N], indices of LabelNames; nil without classes
	LabelNames []string // nil without classes
}

func (s *Images) imageBytes() int { return 3 * s.Size * s.Size }

// Name returns the title.
func (s *Images) Name() string { return s.Title }

// Len returns the number of images.
func (s *Images) Len() int { return len(s.Pixels) / max(1, s.imageBytes()) }

// ClassNames returns LabelNames.
func (s *Images) ClassNames() []string { return s.LabelNames }

// ClassCounts returns the number of images of each class.
func (s *Images) ClassCounts() []int {
	counts := make([]int, len(s.LabelNames))
	for _, label := range s.Labels {
		counts[label]++
	}
	return counts
}

// Fingerprint returns a hash of the pixels and labels.
func (s *Images) Fingerprint() string {
	h := sha256.New()
	h.Write(s.Pixels)
	for _, label := range s.Labels {
		h.Write(binary.LittleEndian.AppendUint64(nil, uint64(label)))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Batches returns the batches from o.Position on. It returns an error for an empty set, labels
// out of range, and for options that images in memory do not have: flips and random crops.
func (s *Images) Batches(o data.LoaderOptions) (Batches, error) {
	switch n := s.Len(); {
	case n == 0 || len(s.Pixels) != n*s.imageBytes():
		return nil, fmt.Errorf("%s: %d bytes are not a positive number of images of %d x %d x 3", s.Title, len(s.Pixels), s.Size, s.Size)
	case s.Labels != nil && len(s.Labels) != n:
		return nil, fmt.Errorf("%s: %d labels for %d images", s.Title, len(s.Labels), n)
	case o.Flip || o.RandomCrop:
		return nil, fmt.Errorf("%s: images in memory are not flipped or cropped: provide them as they shall be trained on", s.Title)
	}
	for _, label := range s.Labels {
		if label < 0 || int(label) >= len(s.LabelNames) {
			return nil, fmt.Errorf("%s: label %d is not in 0..%d", s.Title, label, len(s.LabelNames)-1)
		}
	}
	return &imageBatches{images: s, options: o, position: o.Position, epoch: -1}, nil
}

// imageBatches is the sequence of batches of images in memory.
type imageBatches struct {
	images   *Images
	options  data.LoaderOptions
	position int64 // of the next batch
	epoch    int64 // of order
	order    []int
}

// Next returns the next batch.
func (b *imageBatches) Next(ctx context.Context) (data.Batch, error) {
	if ctx.Err() != nil {
		return data.Batch{}, context.Cause(ctx)
	}
	s, n := b.images, b.options.BatchSize
	batch := data.Batch{Position: b.position, Pixels: make([]byte, 0, n*s.imageBytes())}
	first := b.position + int64(b.options.Rank*n)
	for position := first; position < first+int64(n); position++ {
		i := b.at(position)
		batch.Pixels = append(batch.Pixels, s.Pixels[i*s.imageBytes():(i+1)*s.imageBytes()]...)
		if s.Labels != nil {
			batch.Labels = append(batch.Labels, s.Labels[i])
		}
	}
	b.position += int64(n * max(1, b.options.WorldSize))
	return batch, nil
}

// at returns the index of the image at a position.
func (b *imageBatches) at(position int64) int {
	n := int64(b.images.Len())
	if epoch := position / n; epoch != b.epoch {
		r := rand.New(rand.NewPCG(b.options.Seed^streams.DataOrder<<32, uint64(epoch)))
		b.order, b.epoch = r.Perm(int(n)), epoch
	}
	return b.order[position%n]
}

// Recycle does nothing.
func (b *imageBatches) Recycle(data.Batch) {}

// Close does nothing.
func (b *imageBatches) Close() {}
