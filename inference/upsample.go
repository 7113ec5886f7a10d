package inference

import (
	"cmp"
	"context"

	"github.com/wangkuiyi/gotorch"
)

// Upsample generates high-resolution images from low-resolution ones with a super-resolution network.
// o.Count is the number of images; 0: one for each of small. If there are more, small is used in
// turn, with other noise. The labels are o.Classes, or else those of small.
func (m *Model) Upsample(ctx context.Context, small Images, o SampleOptions) (Samples, error) {
	if !m.config.SuperRes() {
		return Samples{}, ErrNotSuperRes
	}
	if err := small.checkSize("low-resolution images", m.config.SmallSize); err != nil {
		return Samples{}, err
	}
	if err := m.checkLabels(small.Labels); err != nil {
		return Samples{}, err
	}
	o.Count, o.Latents, o.Edit, o.Inpaint = cmp.Or(o.Count, small.Len()), nil, nil, nil
	s := &sampling{Model: m, SampleOptions: o, lowRes: small, given: small.Labels}
	return s.run(ctx)
}

// lowResTensor returns the low-resolution images of a batch, [n, 3, h, w] in [-1, 1]; undefined if
// there are none.
func (s *sampling) lowResTensor(first, n int) gotorch.Tensor {
	if s.lowRes.Len() == 0 {
		return gotorch.Tensor{}
	}
	batch := s.lowRes.inTurn(first, n)
	return batch.tensor(s.device)
}
