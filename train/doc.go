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
//  5. save.go, saver.go: saving in the background, by package checkpoint; best.go, best_save.go: the
//     best checkpoint. ema_snapshot.go: snapshots of power-function EMAs.
//
// bench.go and products.go time steps of the same engine. errors.go: the typed errors.
//
// Each file uses only files further down in this order of layers: the loop, assembling,
// observing and saving, the Trainer, the engine.
package train
