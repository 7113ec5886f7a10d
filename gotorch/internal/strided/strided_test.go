package strided

import (
	"math"
	"slices"
	"testing"
)

func TestBytes(t *testing.T) {
	for _, c := range []struct {
		shape []int64
		item  int64
		want  int64
		ok    bool
	}{
		{nil, 4, 4, true},
		{[]int64{2, 3}, 4, 24, true},
		{[]int64{2, 0, 3}, 8, 0, true},
		{[]int64{-1}, 4, 0, false},
		{[]int64{-1, -1}, 4, 0, false},
		{[]int64{1 << 31, 1 << 31}, 4, 0, false},
		{[]int64{1 << 62}, 2, 0, false},
		{[]int64{0, math.MaxInt64, 2}, 1, 0, false},
		{[]int64{math.MaxInt64}, 1, math.MaxInt64, true},
	} {
		got, ok := Bytes(c.shape, c.item)
		if got != c.want || ok != c.ok {
			t.Errorf("Bytes(%v, %d) = %d, %v, want %d, %v", c.shape, c.item, got, ok, c.want, c.ok)
		}
	}
}

func TestExtent(t *testing.T) {
	for _, c := range []struct {
		shape, strides []int64
		want           int64
		ok             bool
	}{
		{nil, nil, 1, true},
		{[]int64{2, 3}, []int64{3, 1}, 6, true},
		{[]int64{2, 3}, []int64{1, 2}, 6, true},
		{[]int64{1000, 1000}, []int64{0, 0}, 1, true},
		{[]int64{0, 5}, []int64{5, 1}, 0, true},
		{[]int64{2}, []int64{-1}, 0, false},
		{[]int64{3}, []int64{math.MaxInt64/2 + 1}, 0, false},
		{[]int64{2, 2}, []int64{math.MaxInt64 - 1, 1}, 0, false},
		{[]int64{1}, []int64{math.MaxInt64}, 1, true},
	} {
		got, ok := Extent(c.shape, c.strides)
		if got != c.want || ok != c.ok {
			t.Errorf("Extent(%v, %v) = %d, %v, want %d, %v", c.shape, c.strides, got, ok, c.want, c.ok)
		}
	}
}

func TestGather(t *testing.T) {
	src := []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}
	for _, c := range []struct {
		name           string
		item           int64
		shape, strides []int64
		want           []byte
	}{
		{"scalar", 2, nil, nil, []byte{0, 1}},
		{"contiguous", 1, []int64{2, 3}, []int64{3, 1}, []byte{0, 1, 2, 3, 4, 5}},
		{"transposed", 1, []int64{3, 2}, []int64{1, 3}, []byte{0, 3, 1, 4, 2, 5}},
		{"every other pair", 2, []int64{3}, []int64{2}, []byte{0, 1, 4, 5, 8, 9}},
		{"expanded", 1, []int64{2, 3}, []int64{0, 1}, []byte{0, 1, 2, 0, 1, 2}},
		{"empty", 1, []int64{3, 0}, []int64{1, 1}, []byte{}},
		{"rank 3", 1, []int64{2, 2, 2}, []int64{1, 2, 4}, []byte{0, 4, 2, 6, 1, 5, 3, 7}},
	} {
		dst := make([]byte, len(c.want))
		Gather(dst, src, c.item, c.shape, c.strides)
		if !slices.Equal(dst, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, dst, c.want)
		}
	}
	if got := Contiguous([]int64{2, 0, 3}); !slices.Equal(got, []int64{3, 3, 1}) {
		t.Errorf("Contiguous([2 0 3]) = %v", got)
	}
}
