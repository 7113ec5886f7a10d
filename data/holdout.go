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

// holdOut divides the set as the options say. The images kept apart are spread
// evenly over the set, and are the same whenever it is opened.
func (d *Dataset) holdOut(share float64, only bool) error {
	if share == 0 && !only {
		return nil
	}
	if !(share > 0 && share < 1) {
		return fmt.Errorf("%s: a share of %g cannot be held out: it must lie between 0 and 1", d.title, share)
	}
	part := []int32{} // not nil, which stands for all
	for i := range d.Len() {
		if apart := int(float64(i+1)*share) > int(float64(i)*share); apart == only {
			part = append(part, int32(d.at(i)))
		}
	}
	if len(part) == 0 || len(part) == d.Len() {
		return fmt.Errorf("%s: of its %d images a share of %g leaves nothing on one side: choose another", d.title, d.Len(), share)
	}
	d.kept = part
	return nil
}
