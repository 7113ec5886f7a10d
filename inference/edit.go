package inference

import (
	"slices"

	"iddpm/diffusion"
)

// Edit changes images by SDEdit (Meng et al. 2021, arXiv 2108.01073): sampling starts from images with
// the noise of a timestep in the middle of the process, so that they keep their large shapes.
type Edit struct {
	Images Images // of the network's size; sample i of the seed starts from image i, in turn
	// Strength is how much of the process runs, 0 to 1: noise is added up to timestep Strength (T-1).
	// 0 returns the images, 1 is sampling from noise alone.
	Strength float64
}

// StrengthError says that an Edit's strength is not from 0 to 1.
type StrengthError struct{ Strength float64 }

func (e *StrengthError) Error() string { return "the strength must be from 0 to 1" }

// check refuses what does not fit a model.
func (e *Edit) check(m *Model) error {
	if !(e.Strength >= 0 && e.Strength <= 1) {
		return &StrengthError{e.Strength}
	}
	if err := e.Images.checkSize("images to start from", m.config.ImageSize); err != nil {
		return err
	}
	return m.checkLabels(e.Images.Labels)
}

// Steps returns the number of steps of a process with all its timesteps that run; 0 where the images
// are returned.
func (e *Edit) Steps(d *diffusion.GaussianDiffusion) int {
	if e.Strength == 0 {
		return 0
	}
	return d.NumTimesteps() - e.skipped(d)
}

// skipped returns how many of the process's timesteps are left out: those above Strength (T-1).
func (e *Edit) skipped(d *diffusion.GaussianDiffusion) int {
	limit := int(e.Strength * float64(d.OriginalNumSteps-1))
	above := slices.IndexFunc(d.TimestepMap, func(t int) bool { return t > limit })
	if above < 0 {
		return 0
	}
	return d.NumTimesteps() - max(above, 1)
}
