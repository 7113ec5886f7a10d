// Package madeup has what tests share: the configuration of a small run, and pseudorandom weights
// of the Inception network, since trained ones are too large for a repository.
// evaluate/testdata/make.py generates the same weights in Python.
package madeup

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
	"strings"

	"github.com/wangkuiyi/gotorch"
	"github.com/wangkuiyi/gotorch/pt"

	"iddpm/evaluate"
	"iddpm/model"
)

// Numbers returns n pseudorandom numbers in [-0.5, 0.5]: the i-th is murmur3's finalizer
// of i and the crc32 of a name.
func Numbers(name string, n int64) []float64 {
	seed, values := crc32.ChecksumIEEE([]byte(name)), make([]float64, n)
	for i := range values {
		z := uint32(i)*0x9E3779B1 + seed
		z = (z ^ z>>16) * 0x85EBCA6B
		z = (z ^ z>>13) * 0xC2B2AE35
		z ^= z >> 16
		values[i] = float64(z)/(1<<32) - 0.5
	}
	return values
}

// Images returns n images, bytes [n, size, size, 3].
func Images(name string, n, size int) []byte {
	pixels := make([]byte, n*size*size*3)
	for i, v := range Numbers(name, int64(len(pixels))) {
		pixels[i] = byte((v + 0.5) * 256)
	}
	return pixels
}

// InceptionWeights returns a state_dict of the network, scaled so that activations keep
// their magnitude from layer to layer.
func InceptionWeights() *pt.Dict {
	dict := &pt.Dict{Ordered: true}
	_, err := evaluate.New(&pt.Dict{}, gotorch.Device{})
	for _, m := range mismatches(err) {
		dict.Set(m.Name, tensor(m.Name, m.Want))
	}
	return dict
}

// mismatches returns all [model.Mismatch] errors that an error wraps.
func mismatches(err error) (all []*model.Mismatch) {
	if m, ok := err.(*model.Mismatch); ok {
		return []*model.Mismatch{m}
	}
	switch e := err.(type) {
	case interface{ Unwrap() []error }:
		for _, part := range e.Unwrap() {
			all = append(all, mismatches(part)...)
		}
	case interface{ Unwrap() error }:
		all = mismatches(errors.Unwrap(err))
	}
	return all
}

// tensor returns the pseudorandom tensor of a name and a shape.
func tensor(name string, shape []int64) *pt.Tensor {
	n, fanIn := int64(1), int64(1)
	for i, side := range shape {
		n *= side
		if i > 0 {
			fanIn *= side
		}
	}
	scale, offset := scaleOf(name, fanIn)
	data := make([]byte, 0, 4*n)
	for _, v := range Numbers(name, n) {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(float32(v*scale+offset)))
	}
	return &pt.Tensor{DType: pt.Float32, Shape: shape, Data: data}
}

func scaleOf(name string, fanIn int64) (scale, offset float64) {
	switch {
	case strings.HasSuffix(name, "conv.weight"):
		return math.Sqrt(24 / float64(fanIn)), 0
	case strings.HasSuffix(name, "bn.weight"):
		return 0.2, 1
	case strings.HasSuffix(name, "bn.running_var"):
		return 1, 1
	}
	return 0.2, 0
}
