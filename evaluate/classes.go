package evaluate

import "math"

// Classify returns the labels of an image's likeliest classes, the likeliest first: five, or all if
// there are fewer, for each of N images of bytes [N, size, size, 3].
type Classify func(pixels []byte, size int) (likeliest [][]int64, err error)

// ClassAccuracy says how many images a classifier assigns to the classes of their labels: the share
// of samples that show the class which they were conditioned on, if labels are the conditions.
type ClassAccuracy struct {
	Overall ClassCount
	Classes []ClassCount // by label
}

// ClassCount counts the images of a class.
type ClassCount struct {
	Images     int
	Top1, Top5 int // images whose label is the likeliest class, or one of the five likeliest
}

// add counts images of these labels. Classes grows to the largest label.
func (a *ClassAccuracy) add(labels []int64, likeliest [][]int64) {
	for i, label := range labels {
		for int64(len(a.Classes)) <= label {
			a.Classes = append(a.Classes, ClassCount{})
		}
		a.Overall.add(label, likeliest[i])
		a.Classes[label].add(label, likeliest[i])
	}
}

func (c *ClassCount) add(label int64, likeliest []int64) {
	c.Images++
	for rank, class := range likeliest {
		if class == label {
			c.Top5++
			if rank == 0 {
				c.Top1++
			}
		}
	}
}

// Accuracy returns Top1 and Top5 as fractions of Images; NaN without images.
func (c ClassCount) Accuracy() (top1, top5 float64) {
	n := float64(c.Images)
	return float64(c.Top1) / n, float64(c.Top5) / n
}

// StdErr returns the standard error of the first result of Accuracy, of a binomial distribution.
func (c ClassCount) StdErr() float64 {
	p, _ := c.Accuracy()
	return math.Sqrt(p * (1 - p) / float64(c.Images))
}
