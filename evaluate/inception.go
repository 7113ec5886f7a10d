package evaluate

import (
	"errors"
	"fmt"

	"github.com/wangkuiyi/gotorch"
	"github.com/wangkuiyi/gotorch/pt"
)

// The sizes of the network's outputs for an image.
const (
	PoolFeatures    = 2048        // of the last pooling layer: FID, precision and recall
	SpatialFeatures = 17 * 17 * 7 // the first 7 channels of mixed_6/conv, [17, 17, 7]: sFID
	Classes         = 1008        // Inception Score
)

// inputSize is the side of the network's input, in pixels.
const inputSize = 299

// Inception is the network of 2015-12-05, in float32. It works on the tensor
// thread.
type Inception struct {
	device  gotorch.Device
	tensors []gotorch.Tensor // all weights

	stem     layer          // [N, 3, 299, 299] to [N, 768, 17, 17], up to mixed_5
	mixed6   layer          // whose first channels are mixed_6/conv
	end      layer          // to [N, 2048, 8, 8]
	classify gotorch.Tensor // [1008, 2048]
}

// Load reads the network's weights from a PyTorch state_dict (.pth), as published by
// pytorch-fid and torch-fidelity, and moves them to a device. An error lists every tensor
// that is missing or has another shape.
func Load(path string, device gotorch.Device) (*Inception, error) {
	value, err := pt.ReadFile(path)
	if err != nil {
		return nil, err
	}
	dict, ok := value.(*pt.Dict)
	if !ok {
		return nil, fmt.Errorf("%s: holds a %T, not the Inception network's state_dict", path, value)
	}
	n, err := New(dict, device)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return n, nil
}

// New builds the network from a state_dict; extra tensors are ignored. The error wraps a
// [model.Mismatch] for each missing or mismatched tensor.
func New(dict *pt.Dict, device gotorch.Device) (*Inception, error) {
	n := &Inception{device: device}
	var errs []error
	n.build(builder{dict: dict, device: device, tensors: &n.tensors, errs: &errs})
	if len(errs) > 0 {
		n.Free()
		return nil, fmt.Errorf("these are not the weights of the Inception network of 2015-12-05:\n%w", errors.Join(errs...))
	}
	return n, nil
}

// Features computes the Inception features of images, bytes [N, H, W, 3], on any device:
// the pooled features [N, 2048] and the spatial features [N, 2023], each image's in the
// order row, column, channel.
func (n *Inception) Features(images gotorch.Tensor) (pool, spatial gotorch.Tensor) {
	gotorch.NoGrad(func() {
		x := images.To(n.device).CastTo(gotorch.Float).Permute([]int64{0, 3, 1, 2})
		x = resize(x.Contiguous(), inputSize).AddScalar(-128).MulScalar(1. / 128).ChannelsLast()
		x = n.mixed6(n.stem(x))
		spatial = gotorch.Flatten(x.Narrow(1, 0, 7).Permute([]int64{0, 2, 3, 1}).Contiguous(), 1, -1)
		pool = n.end(x).MeanDims(false, 2, 3)
	})
	return pool, spatial
}

// logits returns the scores of the classes [N, 1008] for pooled features
// [N, 2048], without the last layer's bias: Inception Score leaves it out.
func (n *Inception) logits(pool gotorch.Tensor) gotorch.Tensor {
	return gotorch.Linear(pool, n.classify, gotorch.Tensor{})
}

// Free frees the weights.
func (n *Inception) Free() {
	for _, t := range n.tensors {
		t.Free()
	}
}

// build builds the layers from b's weights. The names are those of PyTorch's state_dict;
// the comments give TensorFlow's names mixed_K.
func (n *Inception) build(b builder) {
	n.stem = chain(
		b.valid("Conv2d_1a_3x3", 3, 32, 3, 2), b.valid("Conv2d_2a_3x3", 32, 32, 3, 1), b.conv("Conv2d_2b_3x3", 32, 64, 3, 3), maxPool,
		b.conv("Conv2d_3b_1x1", 64, 80, 1, 1), b.valid("Conv2d_4a_3x3", 80, 192, 3, 1), maxPool,
		b.at("Mixed_5b").blockA(192, 32), // mixed
		b.at("Mixed_5c").blockA(256, 64), // mixed_1
		b.at("Mixed_5d").blockA(288, 64), // mixed_2
		b.at("Mixed_6a").blockB(288),     // mixed_3
		b.at("Mixed_6b").blockC(128),     // mixed_4
		b.at("Mixed_6c").blockC(160),     // mixed_5
	)
	n.mixed6 = b.at("Mixed_6d").blockC(160) // mixed_6
	n.end = chain(
		b.at("Mixed_6e").blockC(192),                  // mixed_7
		b.at("Mixed_7a").blockD(),                     // mixed_8
		b.at("Mixed_7b").blockE(1280, average),        // mixed_9
		b.at("Mixed_7c").blockE(2048, maxPoolInPlace), // mixed_10, with max instead of average pooling
	)
	n.classify = b.at("fc").weight("weight", Classes, PoolFeatures)
}

func (b builder) blockA(in, pooled int64) layer {
	return join(
		b.conv("branch1x1", in, 64, 1, 1),
		chain(b.conv("branch5x5_1", in, 48, 1, 1), b.conv("branch5x5_2", 48, 64, 5, 5)),
		chain(b.conv("branch3x3dbl_1", in, 64, 1, 1), b.conv("branch3x3dbl_2", 64, 96, 3, 3), b.conv("branch3x3dbl_3", 96, 96, 3, 3)),
		chain(average, b.conv("branch_pool", in, pooled, 1, 1)),
	)
}

func (b builder) blockB(in int64) layer {
	return join(
		b.valid("branch3x3", in, 384, 3, 2),
		chain(b.conv("branch3x3dbl_1", in, 64, 1, 1), b.conv("branch3x3dbl_2", 64, 96, 3, 3), b.valid("branch3x3dbl_3", 96, 96, 3, 2)),
		maxPool,
	)
}

func (b builder) blockC(c int64) layer {
	return join(
		b.conv("branch1x1", 768, 192, 1, 1),
		chain(b.conv("branch7x7_1", 768, c, 1, 1), b.conv("branch7x7_2", c, c, 1, 7), b.conv("branch7x7_3", c, 192, 7, 1)),
		chain(b.conv("branch7x7dbl_1", 768, c, 1, 1), b.conv("branch7x7dbl_2", c, c, 7, 1), b.conv("branch7x7dbl_3", c, c, 1, 7),
			b.conv("branch7x7dbl_4", c, c, 7, 1), b.conv("branch7x7dbl_5", c, 192, 1, 7)),
		chain(average, b.conv("branch_pool", 768, 192, 1, 1)),
	)
}

func (b builder) blockD() layer {
	return join(
		chain(b.conv("branch3x3_1", 768, 192, 1, 1), b.valid("branch3x3_2", 192, 320, 3, 2)),
		chain(b.conv("branch7x7x3_1", 768, 192, 1, 1), b.conv("branch7x7x3_2", 192, 192, 1, 7), b.conv("branch7x7x3_3", 192, 192, 7, 1),
			b.valid("branch7x7x3_4", 192, 192, 3, 2)),
		maxPool,
	)
}

func (b builder) blockE(in int64, pool layer) layer {
	return join(
		b.conv("branch1x1", in, 320, 1, 1),
		chain(b.conv("branch3x3_1", in, 384, 1, 1), join(b.conv("branch3x3_2a", 384, 384, 1, 3), b.conv("branch3x3_2b", 384, 384, 3, 1))),
		chain(b.conv("branch3x3dbl_1", in, 448, 1, 1), b.conv("branch3x3dbl_2", 448, 384, 3, 3),
			join(b.conv("branch3x3dbl_3a", 384, 384, 1, 3), b.conv("branch3x3dbl_3b", 384, 384, 3, 1))),
		chain(pool, b.conv("branch_pool", in, 192, 1, 1)),
	)
}
