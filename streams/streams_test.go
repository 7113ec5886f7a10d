package streams

import "testing"

// TestValues checks that no stream has changed: a seed must name the same samples and the
// same training run in every version.
func TestValues(t *testing.T) {
	for name, c := range map[string]struct{ got, want uint64 }{
		"Timesteps":     {uint64(Timesteps), 1},
		"TrainingNoise": {uint64(TrainingNoise), 2},
		"ClassDropout":  {uint64(ClassDropout), 3},
		"SampleNoise":   {uint64(SampleNoise), 16},
		"SampleClass":   {uint64(SampleClass), 17},
		"UpsampleNoise": {uint64(UpsampleNoise), 18},
		"InpaintNoise":  {uint64(InpaintNoise), 19},
		"Dropout":       {uint64(Dropout), 65536},
		"DataOrder":     {DataOrder, 1},
		"Augmentation":  {Augmentation, 2},
	} {
		if c.got != c.want {
			t.Errorf("%s is %d, want %d", name, c.got, c.want)
		}
	}
}
