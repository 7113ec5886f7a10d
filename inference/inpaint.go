package inference

import (
	"cmp"

	"github.com/wangkuiyi/gotorch"

	"iddpm/diffusion"
	"iddpm/streams"
)

// Inpaint keeps the known pixels of images, byte for byte, and generates the others: RePaint (Lugmayr et
// al. 2022), see [diffusion.Inpainting].
type Inpaint struct {
	Images Images // of the network's size; sample i of the seed has the known pixels of image i, in turn
	Masks  Images // of the same size, in turn: white (128 or more of 255) where a pixel is known, black elsewhere

	Resamplings int // how often each part of the process runs; 0: 5
	Jump        int // timesteps of a part; 0: 5
}

// Steps returns the number of steps of a process of n timesteps.
func (p *Inpaint) Steps(n int) int { return p.resampling().Steps(n) }

func (p *Inpaint) check(m *Model) error {
	want := m.config.ImageSize
	if err := cmp.Or(p.Images.checkSize("images to inpaint", want), p.Masks.checkSize("masks", want)); err != nil {
		return err
	}
	return m.checkLabels(p.Images.Labels)
}

func (p *Inpaint) resampling() *diffusion.Inpainting {
	return &diffusion.Inpainting{Resamplings: cmp.Or(p.Resamplings, 5), Jump: cmp.Or(p.Jump, 5)}
}

// knownPixels are those of a batch.
type knownPixels struct {
	images Images
	mask   []float32 // [N, Size, Size]: 1 where a pixel is known, else 0
}

// batch returns the known pixels of n images from sample first of the seed.
func (p *Inpaint) batch(first, n int) *knownPixels {
	masks := p.Masks.inTurn(first, n)
	return &knownPixels{p.Images.inTurn(first, n), masks.known()}
}

// inpainting returns what the sampling loop needs for a batch.
func (p *Inpaint) inpainting(k *knownPixels, noise diffusion.NoiseSource) *diffusion.Inpainting {
	r := p.resampling()
	noise.Stream = streams.InpaintNoise
	n, size := int64(k.images.Len()), int64(k.images.Size)
	r.Known, r.Noise = k.images.tensor(noise.Device), noise.At
	r.Mask = gotorch.FromFloat32s(k.mask, n, 1, size, size).To(noise.Device)
	return r
}

// paste replaces the known pixels of a batch by the given bytes.
func (k *knownPixels) paste(pixels []byte) {
	for i, known := range k.mask {
		if known == 1 {
			copy(pixels[3*i:3*i+3], k.images.Pixels[3*i:3*i+3])
		}
	}
}

// known returns 1 for each white pixel, [N, Size, Size], and 0 for the others.
func (p *Images) known() []float32 {
	known := make([]float32, len(p.Pixels)/3)
	for i := range known {
		if sum := int(p.Pixels[3*i]) + int(p.Pixels[3*i+1]) + int(p.Pixels[3*i+2]); sum >= 3*128 {
			known[i] = 1
		}
	}
	return known
}
