package figure

import "math"

// Octaves returns the energy of images, bytes [N, size, size, 3], by octaves of spatial frequency,
// the highest first: the mean square of the details that averaging 2 x 2 values removes (the Haar
// wavelet), repeatedly, and last the variance of the remaining averages. Values are in [-1, 1].
func Octaves(pixels []byte, size int) (energies []float64) {
	values := make([]float64, len(pixels))
	for i, b := range pixels {
		values[i] = float64(b)/127.5 - 1
	}
	for ; size%2 == 0; size /= 2 {
		coarse, lost := halve(values, size), 0.0
		for i, v := range values {
			row, column, channel := i/(3*size), i/3%size, i%3
			d := v - coarse[(row/2*(size/2)+column/2)*3+channel]
			lost += d * d
		}
		energies = append(energies, lost/float64(len(values)))
		values = coarse
	}
	mean, square := 0.0, 0.0
	for _, v := range values {
		mean, square = mean+v/float64(len(values)), square+v*v/float64(len(values))
	}
	return append(energies, square-mean*mean)
}

// halve averages 2 x 2 values of images [N, size, size, 3]. Rows are numbered through all images,
// which works since size is even.
func halve(values []float64, size int) []float64 {
	coarse := make([]float64, len(values)/4)
	for i, v := range values {
		row, column, channel := i/(3*size), i/3%size, i%3
		coarse[(row/2*(size/2)+column/2)*3+channel] += v / 4
	}
	return coarse
}

// Decibels returns the root mean square difference between two lists of energies, dB. The energy of
// the rounding to bytes is a lower bound.
func Decibels(a, b []float64) float64 {
	const floor = 1. / (127.5 * 127.5 * 12)
	sum := 0.0
	for i := range a {
		d := 10 * math.Log10(max(a[i], floor)/max(b[i], floor))
		sum += d * d
	}
	return math.Sqrt(sum / float64(len(a)))
}
