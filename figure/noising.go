package figure

import (
	"fmt"
	"image"
	"math"
	"math/rand/v2"
	"strconv"

	"iddpm/diffusion"
)

// Image is a square image of bytes.
type Image struct {
	Name string
	Size int    // pixels a side
	RGB  []byte // [Size, Size, 3]
}

// NoisingOptions are options of [Noising]. Zero values: 9 columns.
type NoisingOptions struct {
	Steps   int    // T
	Columns int    // evenly spaced steps from 0, the image, to T
	Seed    uint64 // of the noise, which is the same in every image
}

// Noising draws figure 3: an image with the noise of the linear and the cosine schedule
// (equation 9) at evenly spaced steps. All images have the same noise, so that only the
// schedules differ.
func Noising(p Image, o NoisingOptions) (Strip, error) {
	if p.Size < 1 || len(p.RGB) != 3*p.Size*p.Size {
		return Strip{}, fmt.Errorf("%s: %d bytes are not an image of %d x %d pixels", p.Name, len(p.RGB), p.Size, p.Size)
	}
	if o.Columns == 0 {
		o.Columns = 9
	}
	if o.Columns < 2 || o.Columns > 40 || o.Columns > o.Steps+1 {
		return Strip{}, fmt.Errorf("%d columns: use 2 to 40, and no more than there are steps", o.Columns)
	}
	s := Strip{
		Caption: p.Name + " under linear and cosine noise at evenly spaced steps (Nichol & Dhariwal 2021, figure 3).",
		XLabel:  fmt.Sprintf("diffusion step t of T = %d", o.Steps),
		Data:    Table{Columns: []string{"schedule", "t", "t_over_T", "alpha_bar", "signal_factor", "noise_factor"}},
	}
	for k := range o.Columns {
		s.Columns = append(s.Columns, strconv.Itoa(o.step(k)))
	}
	for _, name := range []string{diffusion.Linear, diffusion.Cosine} {
		if err := s.addRow(name, p, o); err != nil {
			return Strip{}, err
		}
	}
	return s, nil
}

// step returns the step of column k.
func (o NoisingOptions) step(k int) int {
	return int(math.Round(float64(k) * float64(o.Steps) / float64(o.Columns-1)))
}

func (s *Strip) addRow(name string, p Image, o NoisingOptions) error {
	schedule, err := named(name, o.Steps)
	if err != nil {
		return err
	}
	s.Rows = append(s.Rows, name)
	var cells []image.Image
	for k := range o.Columns {
		t, alphaBar := o.step(k), 1.0
		if t > 0 {
			alphaBar = schedule.AlphasCumprod[t-1]
		}
		signal, noise := math.Sqrt(alphaBar), math.Sqrt(1-alphaBar)
		s.Data.add(name, float64(t), float64(t)/float64(o.Steps), alphaBar, signal, noise)
		cells = append(cells, p.noised(signal, noise, o.Seed))
	}
	s.Cells = append(s.Cells, cells)
	return nil
}

// noised returns signal x_0 + noise epsilon as an image, clipped to the range of pixels.
func (p Image) noised(signal, noise float64, seed uint64) image.Image {
	random := rand.New(rand.NewPCG(seed, 0))
	img := image.NewNRGBA(image.Rect(0, 0, p.Size, p.Size))
	for i, b := range p.RGB {
		x := signal*(float64(b)/127.5-1) + noise*random.NormFloat64()
		img.Pix[i/3*4+i%3] = byte(math.Round(min(max((x+1)*127.5, 0), 255)))
		img.Pix[i/3*4+3] = 0xff
	}
	return img
}
