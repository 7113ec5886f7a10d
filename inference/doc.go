// Package inference computes with trained networks: it samples images, interpolates between
// samples, inverts and upsamples images, and evaluates the likelihood of images.
//
// [Load] reads a checkpoint (load.go); [New] wraps a network in memory, such as that of a
// training run (model.go). Each task is a method of [Model] with an options struct whose zero
// value works: [Model.Sample] (sample.go), [Model.Interpolate] (interpolate.go, latents.go), [Model.Invert]
// (invert.go), [Model.Upsample] (upsample.go) and [Model.Likelihood] (likelihood.go). Sampling may be
// guided (guidance.go, classifier.go), start from images (edit.go) or keep their known pixels
// (inpaint.go). [Images] are its result (images.go), of which grid.go and strip.go make PNG files.
//
// The package writes no files and no log. Progress is reported to a callback (progress.go), and
// errors that a caller can act on are typed (errors.go).
//
// libtorch's process-wide settings are the program's: [Model.Settings] says which the precision asks
// for.
//
// A sample is a function of the seed and its index alone; see package streams. Batch size and
// number of processes change at most the rounding.
package inference
