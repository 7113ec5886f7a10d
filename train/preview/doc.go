// Package preview samples from the network of a training run between its steps, so that its user
// sees it learn. [Sampler] (sampler.go) makes grids of samples; schedule.go chooses how often,
// and budget.go lengthens the interval of those that cost too much.
// [Evaluator] (evaluator.go) compares samples with training images. Both sample by source.go.
//
// It is above package train, which calls it as a [train.Observer]: each process of a run has its
// own in [train.Run]. What to sample is a part of the run's configuration, [runconfig.SampleConfig].
package preview
