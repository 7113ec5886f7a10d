package inference

import (
	"cmp"
	"context"
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
