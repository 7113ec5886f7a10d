package inference

import (
	"errors"
	"fmt"

	"github.com/wangkuiyi/gotorch"

	"iddpm/diffusion"
)

// Guidance strengthens the influence of the class, or of the better of two networks: see
// [diffusion.Guidance].
type Guidance struct {
	Scale float64 // W of (1-W) guide + W network; 1: no guidance, 0: the guide alone

	// Guide is the other network: a smaller or less trained one of the same diffusion. nil:
	// the network itself at its null class, which needs training with class dropout.
	Guide *Model

	// The noise levels sigma with guidance: MinSigma < sigma <= MaxSigma. MaxSigma 0: no upper
	// limit.
	MinSigma, MaxSigma float64
}

// ErrNoNullClass is the error of classifier-free guidance of a network that has not been
// trained with class dropout.
var ErrNoNullClass = errors.New("the network has no null class: classifier-free guidance needs training with class dropout")

// GuideError says that a network cannot guide another.
type GuideError struct{ Reason string }

func (e *GuideError) Error() string { return "the network cannot be the guide: " + e.Reason }

// ClassifierGuidance conditions samples on their class by a classifier (Dhariwal & Nichol 2021):
// see [diffusion.ClassifierGuidance]. The network itself need not know classes.
type ClassifierGuidance struct {
	Classifier *Classifier
	Scale      float64 // S; 0: no guidance
}

// ClassifierError says that a classifier cannot guide a network.
type ClassifierError struct{ Reason string }

func (e *ClassifierError) Error() string {
	return "the classifier cannot guide the network: " + e.Reason
}

// setGuides closes the captured step if it has other guides than those of g and by, which may be
// nil. It runs on the tensor thread.
func (m *Model) setGuides(g *Guidance, by *ClassifierGuidance) {
	var now guides
	if g != nil {
		now.guide = g.Guide
	}
	if by != nil {
		now.classifier = by.Classifier
	}
	if now != m.guides {
		m.graphs.Close()
		m.guides = now
	}
}

// guidance returns what the sampling loop needs of g, which may be nil.
func (m *Model) guidance(g *Guidance) (*diffusion.Guidance, error) {
	switch {
	case g == nil:
		return nil, nil
	case g.Guide != nil:
		return m.autoguidance(g)
	case !m.config.HasNullClass():
		return nil, ErrNoNullClass
	}
	return &diffusion.Guidance{Scale: g.Scale, NullClass: int64(m.config.NumClasses), MinSigma: g.MinSigma, MaxSigma: g.MaxSigma}, nil
}

// autoguidance checks that g.Guide fits. A guide without classes ignores them.
func (m *Model) autoguidance(g *Guidance) (*diffusion.Guidance, error) {
	own, its := m.config, g.Guide.config
	refuse := func(format string, a ...any) (*diffusion.Guidance, error) {
		return nil, &GuideError{fmt.Sprintf(format, a...)}
	}
	switch a, b := m.process, g.Guide.process; {
	case its.ImageSize != own.ImageSize || its.InChannels != own.InChannels || its.SmallSize != own.SmallSize:
		return refuse("it denoises images of %d pixels, not of %d, or from another low resolution", its.ImageSize, own.ImageSize)
	case its.ClassCond && (!own.ClassCond || its.NumClasses < own.NumClasses):
		return refuse("it needs classes that the other network does not have, or lacks some")
	case !a.SameProcess(b):
		return refuse("its diffusion has other noise levels, timesteps or predictions")
	}
	denoise := g.Guide.denoise
	guide := func(x, t gotorch.Tensor, cond diffusion.Cond) gotorch.Tensor {
		if !its.ClassCond {
			cond.Y = gotorch.Tensor{}
		}
		return denoise(x, t, cond)
	}
	return &diffusion.Guidance{Scale: g.Scale, Guide: guide, MinSigma: g.MinSigma, MaxSigma: g.MaxSigma}, nil
}

// classifierGuidance returns what the sampling loop needs of g, which may be nil.
func (m *Model) classifierGuidance(g *ClassifierGuidance) (*diffusion.ClassifierGuidance, error) {
	if g == nil {
		return nil, nil
	}
	switch c := g.Classifier.config; {
	case c.ImageSize != m.config.ImageSize:
		return nil, &ClassifierError{fmt.Sprintf("it classifies images of %d pixels, not of %d", c.ImageSize, m.config.ImageSize)}
	case m.config.ClassCond && c.NumClasses != m.config.NumClasses:
		return nil, &ClassifierError{fmt.Sprintf("it has %d classes, and the network %d", c.NumClasses, m.config.NumClasses)}
	}
	return &diffusion.ClassifierGuidance{Scale: g.Scale, Gradient: g.Classifier.gradient}, nil
}
