// Package engine trains a network: forward and backward pass, AdamW, EMA and the loss scale.
// It reads and writes no files and no log; package train adds those.
//
// The files, each of which uses only those before it:
//
//  1. precision.go, options.go: the number types, and what an engine is made from.
//  2. noise_scale.go, result.go: the metrics of a step, on the device and on the host.
//  3. network.go, core.go: the tensors that a step changes: weights, optimizer state, EMA weights.
//     ema_warmup.go: the EMAs of a run whose decay rates grow; power_ema.go: power-function EMAs.
//     memory.go: the memory of a step, and the largest microbatch that fits.
//  4. denoiser.go, pixels.go: the network as package diffusion evaluates it, and its images.
//     classification.go, gradient_sum.go, backward.go: the gradient of a batch, over microbatches and
//     processes.
//  5. work.go: the device's part of a step, which a GPU captures as one graph.
//  6. engine.go, class_dropout.go, step.go: New and Step. state.go, evaluation.go,
//     diagnose.go: what else a run needs.
//
// libtorch's process-wide settings are the program's: Engine.Settings says with which the step is
// meant to run.
//
// The random numbers of a step are a function of (seed, step, index in the global batch), so
// the state holds no generator, and the result does not depend on microbatches or processes
// except by rounding.
package engine
