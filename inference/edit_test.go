package inference

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"iddpm/diffusion"
	"iddpm/internal/madeup"
)

// Strength 0 returns the images, 1 samples from noise alone, and between them samples are the nearer to
// the images, the lower the strength. A sample does not depend on its batch.
func TestEdit(t *testing.T) {
	m := tinyModel(t, tinyConfig())
	size := m.Config().ImageSize
	images := Images{Size: size, Pixels: madeup.Images("edit", 2, size)}
	edit := func(strength float64, o SampleOptions) Samples {
		o.Edit, o.Sampler, o.Seed = &Edit{images, strength}, diffusion.DPMPP2M, 4
		return must[Samples](t)(m.Sample(context.Background(), o))
	}
	if same := edit(0, SampleOptions{}); !bytes.Equal(same.Pixels, images.Pixels) || same.Count != 2 {
		t.Error("strength 0 changes the images")
	}
	plain := must[Samples](t)(m.Sample(context.Background(), SampleOptions{Count: 2, Sampler: diffusion.DPMPP2M, Seed: 4}))
	if full := edit(1, SampleOptions{}); !bytes.Equal(full.Pixels, plain.Pixels) {
		t.Error("strength 1 is not sampling from noise alone")
	}
	distance := func(s Samples) (sum float64) {
		for i, p := range s.Pixels {
			d := float64(p) - float64(images.Pixels[i])
			sum += d * d
		}
		return sum
	}
	if low, high := distance(edit(0.2, SampleOptions{})), distance(edit(0.9, SampleOptions{})); !(low > 0 && low < high) {
		t.Errorf("distances %g and %g", low, high)
	}
	all := edit(0.5, SampleOptions{Count: 5, BatchSize: 2})
	if part := edit(0.5, SampleOptions{First: 3, Count: 2}); !near(part.Pixels, all.Pixels[3*all.BytesPerImage():]) {
		t.Error("the last two samples are others in a part of their own")
	}
	var strength *StrengthError
	if _, err := m.Sample(context.Background(), SampleOptions{Edit: &Edit{images, 1.1}}); !errors.As(err, &strength) {
		t.Errorf("strength 1.1: %v", err)
	}
	var wrong *SizeError
	if _, err := m.Sample(context.Background(), SampleOptions{Edit: &Edit{Images{}, 0.5}}); !errors.As(err, &wrong) {
		t.Errorf("no images: %v", err)
	}
}
