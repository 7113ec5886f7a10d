// Package train is the training loop: batches in, checkpoints out.
//
// A run's life, in the order of the files to read:
//
//  1. A Config (config.go, presets.go) says all that a run depends on. New, Resume
//     and ResumeReference (begin.go, reference.go) make a Trainer of it (trainer.go):
//     they lock the run folder (lock.go, runfolder.go), open the images and build
//     the network, the optimizer and the averages (build.go, precision.go).
//  2. Trainer.Train (trainer.go) takes step after step. One (step.go) draws the
//     timesteps on the host and sends them over with the images; all else is the
//     device's work (work.go, pixels.go): it takes the losses of the microbatches and
//     goes back from each, clips, updates the weights by AdamW, and their moving
//     averages. What the step has to say lies in one tensor (result.go).
//  3. Steps are gathered to a line of the log (meter.go, gradnoise.go; package
//     metrics writes it), skipped or undone where numbers go bad (health.go), and
//     the network is tried on held-out images (heldout.go).
//  4. A checkpoint (checkpoint.go; optimizer.go, timestep_sampler_state.go and
//     fields.go for its parts) is written beside the steps (saver.go).
//
// Of several processes (distributed.go) each takes its share of a batch, and
// the one of rank 0 has the run folder. Beside training, inference.go is the network
// as sampling asks it, and bench.go and products.go are steps to be timed.
//
// Everything random in a step is a function of (seed, step, position in the global
// batch), so a checkpoint holds no generator's state, and a resumed run repeats what
// an uninterrupted one does, bit for bit on the CPU.
package train
