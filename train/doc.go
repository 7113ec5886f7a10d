// Package train is the training loop: batches in, checkpoints out.
//
// One step, in [Trainer.step]: draw timesteps and noise, take the losses of the
// microbatches and go back from each, clip, update the weights by AdamW, update
// their moving averages. Everything random in it is a function of (seed, step,
// position in the global batch), so a checkpoint holds no generator's state,
// and a resumed run repeats what an uninterrupted one does, bit for bit on the
// CPU.
package train
