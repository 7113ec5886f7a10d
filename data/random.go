package data

import (
	"math/bits"
	"math/rand/v2"

	"iddpm/streams"
)

// The meaning of a stored position must never change. So all random numbers here
// come from the documented PCG generator of math/rand/v2 and our own bounded draw,
// not from library functions that may change how they use it.

// generator returns the generator of (seed, stream, n); see package streams.
func generator(seed, stream, n uint64) *rand.PCG {
	return rand.NewPCG(mix(seed^mix(stream)), mix(n))
}

// mix is the finalizer of splitmix64: neighbouring inputs give unrelated outputs.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// below draws an integer of [0, n), n > 0, every value equally likely (Lemire's
// multiplication, with the rejection that makes it exact).
func below(r *rand.PCG, n uint64) uint64 {
	high, low := bits.Mul64(r.Uint64(), n)
	if low < n {
		for reject := -n % n; low < reject; {
			high, low = bits.Mul64(r.Uint64(), n)
		}
	}
	return high
}

// permutation returns the order of n images in one epoch (Fisher and Yates).
func permutation(seed, epoch uint64, n int) []int32 {
	r := generator(seed, streams.DataOrder, epoch)
	order := make([]int32, n)
	for i := range order {
		j := below(r, uint64(i)+1)
		order[i] = order[j]
		order[j] = int32(i)
	}
	return order
}

// ordering maps each position of the sequence to an image.
type ordering struct {
	seed       uint64
	n          int
	sequential bool

	epoch int64   // epoch of order
	order []int32 // nil until needed
}

// images returns the images at n positions from first on.
func (o *ordering) images(first int64, n int) []int32 {
	out := make([]int32, n)
	for k := range out {
		epoch, i := (first+int64(k))/int64(o.n), (first+int64(k))%int64(o.n)
		if o.sequential {
			out[k] = int32(i)
			continue
		}
		if o.order == nil || o.epoch != epoch {
			o.order, o.epoch = permutation(o.seed, uint64(epoch), o.n), epoch
		}
		out[k] = o.order[i]
	}
	return out
}
