package inference

import (
	"context"
	"errors"
	"testing"

	"iddpm/diffusion"
	"iddpm/internal/madeup"
)

// Known pixels are the given ones byte for byte, the others are not, and a sample does not depend on
// its batch.
func TestInpaint(t *testing.T) {
	m := tinyModel(t, tinyConfig())
	size := m.Config().ImageSize
	images, mask := Images{Size: size, Pixels: madeup.Images("inpaint", 2, size)}, Images{Size: size, Pixels: make([]byte, 3*size*size)}
	for i := range mask.Pixels[:len(mask.Pixels)/2] {
		mask.Pixels[i] = 255
	}
	for _, sampler := range []diffusion.Sampler{diffusion.Ancestral, diffusion.DPMPP2M} {
		inpaint := func(o SampleOptions) Samples {
			o.Sampler, o.Inpaint = sampler, &Inpaint{Images: images, Masks: mask, Resamplings: 2, Jump: 2}
			o.Progress = func(p Progress) error {
				if p.Step > p.Steps {
					t.Errorf("step %d of %d", p.Step, p.Steps)
				}
				return nil
			}
			return must[Samples](t)(m.Sample(context.Background(), o))
		}
		all := inpaint(SampleOptions{Count: 3, BatchSize: 2})
		for i := range 3 {
			got, want := all.Image(i), images.Image(i%2)
			other := 0
			for k := range got {
				if known := mask.Pixels[k] == 255; known && got[k] != want[k] {
					t.Fatalf("%s: value %d of image %d is %d, and was %d", sampler, k, i, got[k], want[k])
				} else if !known && got[k] != want[k] {
					other++
				}
			}
			if other < len(got)/4 {
				t.Errorf("%s: only %d values of image %d are generated", sampler, other, i)
			}
		}
		if part := inpaint(SampleOptions{First: 2}); !near(part.Image(0), all.Image(2)) {
			t.Errorf("%s: the third sample is another alone", sampler)
		}
	}
	var wrong *SizeError
	if _, err := m.Sample(context.Background(), SampleOptions{Inpaint: &Inpaint{Images: images}}); !errors.As(err, &wrong) || wrong.What != "masks" {
		t.Errorf("without masks: %v", err)
	}
}
