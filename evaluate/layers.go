package evaluate

import "github.com/wangkuiyi/gotorch"

// layer is a part of the network: from [N, C, H, W] to [N, C', H', W'].
type layer func(x gotorch.Tensor) gotorch.Tensor

// chain composes layers and frees the intermediate results.
func chain(layers ...layer) layer {
	return func(x gotorch.Tensor) (y gotorch.Tensor) {
		gotorch.Scope(func() {
			y = x
			for _, l := range layers {
				y = l(y)
			}
			y = y.MoveOut()
		})
		return y
	}
}

// join applies several layers to the same input and concatenates their outputs along the
// channels.
func join(layers ...layer) layer {
	return func(x gotorch.Tensor) (y gotorch.Tensor) {
		gotorch.Scope(func() {
			parts := make([]gotorch.Tensor, len(layers))
			for i, l := range layers {
				parts[i] = l(x)
			}
			y = gotorch.Cat(parts, 1).MoveOut()
		})
		return y
	}
}

// maxPool is max pooling with stride 2: it halves height and width.
func maxPool(x gotorch.Tensor) gotorch.Tensor {
	return gotorch.MaxPool2d(x, []int64{3}, []int64{2}, []int64{0}, []int64{1}, false)
}

// maxPoolInPlace is max pooling with stride 1: it keeps height and width.
func maxPoolInPlace(x gotorch.Tensor) gotorch.Tensor {
	return gotorch.MaxPool2d(x, []int64{3}, []int64{1}, []int64{1}, []int64{1}, false)
}

// average is average pooling with stride 1; padding is excluded from the mean, as in
// TensorFlow.
func average(x gotorch.Tensor) gotorch.Tensor {
	return gotorch.AvgPool2d(x, []int64{3}, []int64{1}, []int64{1}, false)
}

// resize returns x [N, C, H, W] at size x size pixels by TensorFlow 1's bilinear filter:
// output pixel i is at input position i side/size, not at the pixel's centre, without
// antialiasing.
func resize(x gotorch.Tensor, size int64) gotorch.Tensor {
	return resizeAlong(resizeAlong(x, 3, size), 2, size)
}

func resizeAlong(x gotorch.Tensor, dim, size int64) gotorch.Tensor {
	side := x.Size(dim)
	low, high, share := make([]int64, size), make([]int64, size), make([]float32, size)
	scale := float32(float64(side) / float64(size))
	for i := range size {
		at := float32(i) * scale
		low[i] = min(int64(at), side-1)
		high[i] = min(low[i]+1, side-1)
		share[i] = at - float32(low[i])
	}
	along := []int64{1, 1, 1, 1}
	along[dim] = size
	pick := func(index []int64) gotorch.Tensor {
		return x.IndexSelect(dim, gotorch.FromInt64s(index).To(x.Device()))
	}
	from, to := pick(low), pick(high)
	return from.Addcmul(to.Sub(from, 1), gotorch.FromFloat32s(share, along...).To(x.Device()), 1)
}
