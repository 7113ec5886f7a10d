package gotorch

// #include "iddpm.h"
import "C"

import "runtime"

// Generator is a sequential random number generator, as torch.Generator: a Mersenne
// twister on the CPU.
type Generator struct {
	g C.gt_generator
}

// NewGenerator returns a generator on d in the state of PyTorch's after
// manual_seed(seed).
func NewGenerator(d Device, seed uint64) *Generator {
	mustLoad()
	g := new(Generator)
	check("NewGenerator", C.gt_generator_new(d.c(), C.uint64_t(seed), &g.g))
	runtime.AddCleanup(g, func(c C.gt_generator) { C.gt_generator_free(c) }, g.g)
	return g
}

// made returns the handle, or panics if NewGenerator did not create the generator.
func (g *Generator) made(op string) C.gt_generator {
	if g == nil || g.g == nil {
		panic(&Error{Op: op, Message: "the generator was not created by NewGenerator"})
	}
	return g.g
}

// UniformI fills t from U[from, to).
func (t Tensor) UniformI(from, to float64, g *Generator) {
	check("UniformI", C.gt_uniform_(t.defined("UniformI"), C.double(from), C.double(to), g.made("UniformI")))
	runtime.KeepAlive(t.owner)
	runtime.KeepAlive(g)
}

// NormalI fills t from N(mean, std^2).
func (t Tensor) NormalI(mean, std float64, g *Generator) {
	check("NormalI", C.gt_normal_(t.defined("NormalI"), C.double(mean), C.double(std), g.made("NormalI")))
	runtime.KeepAlive(t.owner)
	runtime.KeepAlive(g)
}

// PhiloxKey identifies one stream of counter-based random numbers: the value at
// element j of row n is a function of (Seed, Stream, Step, FirstSample + n, j)
// only. So the numbers do not depend on how a batch is split over microbatches,
// ranks or threads, and the same key always gives the same numbers.
type PhiloxKey struct {
	Seed        uint64
	Stream      uint32 // purpose of the numbers: one for noise, one per dropout layer, ...
	Step        uint32 // training or sampling step
	FirstSample int64  // index of row 0 in the global batch
	// StepOf, if defined, is one int64 on the device where the numbers are drawn. The
	// kernel adds it to Step, so each replay of a [Graph] can draw another step's numbers.
	StepOf Tensor
}

func (k PhiloxKey) c() C.gt_philox_key {
	return C.gt_philox_key{seed: C.uint64_t(k.Seed), stream: C.uint32_t(k.Stream), step: C.uint32_t(k.Step), first_sample: C.int64_t(k.FirstSample)}
}

// PhiloxNormal returns standard normal numbers. An [N, C, H, W] tensor is
// channels-last, and j counts its elements in that order.
func PhiloxNormal(d Device, dtype DType, key PhiloxKey, shape ...int64) Tensor {
	mustLoad()
	p, n := cInts(shape)
	step := key.StepOf
	r := C.gt_philox_normal(p, n, C.int32_t(dtype), d.c(), key.c(), step.optional("PhiloxNormal"))
	runtime.KeepAlive(step.owner)
	return resultOf("PhiloxNormal", r)
}

// PhiloxUniform returns numbers from U(0, 1), in the layout of [PhiloxNormal].
func PhiloxUniform(d Device, dtype DType, key PhiloxKey, shape ...int64) Tensor {
	mustLoad()
	p, n := cInts(shape)
	step := key.StepOf
	r := C.gt_philox_uniform(p, n, C.int32_t(dtype), d.c(), key.c(), step.optional("PhiloxUniform"))
	runtime.KeepAlive(step.owner)
	return resultOf("PhiloxUniform", r)
}

// PhiloxDropout zeroes each element of t with probability p and scales the
// others by 1 / (1 - p) (Srivastava et al. 2014).
func (t Tensor) PhiloxDropout(p float64, key PhiloxKey) Tensor {
	step := key.StepOf
	r := C.gt_philox_dropout(t.defined("PhiloxDropout"), C.double(p), key.c(), step.optional("PhiloxDropout"))
	runtime.KeepAlive(step.owner)
	runtime.KeepAlive(t.owner)
	return resultOf("PhiloxDropout", r)
}
