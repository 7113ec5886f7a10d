// Package runconfig has the configuration of a run: network, diffusion, images, training, evaluation
// and samples, with the presets. It is stored as JSON in the run folder and in every checkpoint, so
// programs that load a network need it as those that train do.
//
// config.go: Config, and the images and the training loop; eval.go: the held-out evaluation; samples.go:
// the sample grids; presets.go: the defaults, and configurations by name.
package runconfig
