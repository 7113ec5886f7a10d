package evaluate

import "fmt"

// StatisticsOnlyError is the error for a selection of images from a file of statistics.
type StatisticsOnlyError struct{ Path string }

// Error names the file.
func (e *StatisticsOnlyError) Error() string {
	return fmt.Sprintf("%s holds statistics: selecting images needs images", e.Path)
}

// WeightsError is an error of the file of the Inception network's weights.
type WeightsError struct {
	Path string
	Err  error
}

// Error describes the cause.
func (e *WeightsError) Error() string {
	return "the Inception network's weights: " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *WeightsError) Unwrap() error { return e.Err }

// ReferenceError is an error of the reference.
type ReferenceError struct{ Err error }

// Error describes the cause.
func (e *ReferenceError) Error() string { return "the reference: " + e.Err.Error() }

// Unwrap returns the cause.
func (e *ReferenceError) Unwrap() error { return e.Err }

// TooFewImagesError is the error for a set of one image where its covariance is needed.
type TooFewImagesError struct {
	Set string // SamplesSet or ReferenceSet
}

// Error says how many images are needed.
func (e *TooFewImagesError) Error() string {
	return "one image has no covariance: FID needs at least 2 images, and thousands for a sound estimate"
}
