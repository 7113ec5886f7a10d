// Package train is the training loop: batches in, checkpoints out.
//
// The files, in the order to read them:
//
//  1. A Config (config.go, presets.go) is the full configuration of a run. New, Resume
//     and ResumeReference (begin.go, reference.go) make a Trainer from it (trainer.go):
//     they lock the run folder (lock.go, runfolder.go), open the images and build the
//     network, the optimizer and the EMA weights (build.go, precision.go).
//  2. Trainer.Train (trainer.go) is the loop over optimizer steps. A step (step.go) samples
//     timesteps on the host and copies them to the device with the images. The rest runs on
//     the device (work.go, pixels.go): forward and backward pass of each microbatch, gradient
//     clipping, AdamW and EMA. The step's metrics are one tensor (result.go).
//  3. The metrics of several steps become one row (meter.go, gradnoise.go; package metrics
//     writes it). Steps with a non-finite loss or gradient are skipped or rolled back
//     (health.go). The bound is evaluated on held-out images (heldout.go).
//  4. Checkpoints (checkpoint.go; optimizer.go, timestep_sampler_state.go and fields.go for
//     their parts) are written in the background (saver.go).
//
// With several processes (distributed.go) each rank trains on its part of the batch, and
// rank 0 owns the run folder. inference.go is the network as the samplers use it, and
// bench.go and products.go are steps to be timed.
//
// All random numbers of a step are a function of (seed, step, index in the global batch).
// So a checkpoint holds no generator state, and a resumed run equals an uninterrupted one,
// bit for bit on the CPU.
package train
