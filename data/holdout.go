package data

import "fmt"

// Spread returns which of all images is the i-th of n that are spread evenly over
// them, 0 <= i < n <= all.
func Spread(i, n, all int) int { return i * all / n }

// limit keeps n of the images, which are spread evenly over the set; 0 keeps all.
func (d *Dataset) limit(n int) {
	all := d.Len()
	if n <= 0 || n >= all {
		return
	}
	part := make([]int32, n)
	for i := range part {
		part[i] = int32(d.at(Spread(i, n, all)))
	}
	d.kept = part
}

// holdOut splits the set into training and validation images. The held-out images are
// spread evenly over the set, and are the same every time it is opened.
func (d *Dataset) holdOut(fraction float64, only bool) error {
	if fraction == 0 && !only {
		return nil
	}
	if !(fraction > 0 && fraction < 1) {
		return fmt.Errorf("%s: a fraction of %g cannot be held out: it must be between 0 and 1", d.title, fraction)
	}
	part := []int32{} // not nil, which means all
	for i := range d.Len() {
		if apart := int(float64(i+1)*fraction) > int(float64(i)*fraction); apart == only {
			part = append(part, int32(d.at(i)))
		}
	}
	if len(part) == 0 || len(part) == d.Len() {
		return fmt.Errorf("%s: holding out a fraction of %g of its %d images leaves one side empty: choose another fraction", d.title, fraction, d.Len())
	}
	d.kept = part
	return nil
}
