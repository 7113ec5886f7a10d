// Package train runs a training: batches in, checkpoints, metrics and a log out. The
// optimizer step itself is package engine; this package surrounds it with a run folder.
//
// The files, in the order to read them:
//
//  1. config_engine.go: the configuration, package runconfig, as the engine's options.
//  2. trainer.go: Run, the environment, and Trainer, the state of a run. source.go: where its
//     batches come from, which may be a user's own images; images.go: images in memory.
//  3. train.go, loop.go, sync.go: the loop over steps, and its end by an interrupt or an error.
//     observe.go: the metrics of each log interval (meter.go, averages.go; package metrics
//     writes them). recover.go: the rollback of a run that diverges. heldout.go, heldout_classes.go,
//     heldout_data.go: evaluation on held-out images. observer.go: other work between steps. threads.go: the number of CPU threads.
//  4. begin.go: New, Resume, ResumeReference and Join. They lock the run folder (lock.go,
//     runfolder.go), open the images (assemble.go, data_log.go) and make the engine (build.go).
//     differences.go: why a resumed run may differ.
//  5. load_checkpoint.go: what a file or folder is; checkpoint.go: a checkpoint of ours, with
//     exported.go (safetensors), imported.go (diffusers), wrapped.go, foreign.go, identified.go, published.go and
//     contradictions.go (bare weights); reference.go and reference_names.go: a run of the reference.
//     ema.go, checkpoint_network.go: their weights. run_names.go, checkpoint_keys.go,
//     checkpointfiles.go, snapshotfiles.go: the names of files and of what is in them.
//     checkpoint_state.go: an engine's state as a checkpoint, in the parts optimizer.go,
//     timestep_sampler_state.go, checkpoint_health.go and fields.go. save.go, saver.go: saving
//     in the background; best.go, best_save.go: the best checkpoint. ema_snapshot.go: snapshots of
//     power-function EMAs, ema_posthoc.go: EMAs made from them.
//
// bench.go and products.go time steps of the same engine. errors.go: the typed errors.
//
// Each file uses only files further down in this order of layers: the loop, assembling,
// observing and saving, the Trainer, checkpoints, the engine.
package train
