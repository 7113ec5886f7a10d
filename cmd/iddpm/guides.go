package main

import (
	"errors"

	"github.com/wangkuiyi/gotorch"

	"iddpm/inference"
	"iddpm/internal/cli"
)

// guides are the networks that guide a model, loaded; both may be nil.
type guides struct {
	guidance   *inference.Guidance
	classifier *inference.ClassifierGuidance
}

// openGuides loads the networks that the flags name. Free them even after an error.
func (s *session) openGuides(o *sampleJob) (g guides, err error) {
	err = errors.Join(s.openGuidance(o, &g), s.openClassifier(o, &g))
	return g, s.group.SyncError(err)
}

func (s *session) openGuidance(o *sampleJob, g *guides) (err error) {
	if o.guidance.scale == 1 {
		return nil
	}
	g.guidance = &inference.Guidance{Scale: o.guidance.scale}
	if i := o.guidance.interval; i != nil {
		g.guidance.MinSigma, g.guidance.MaxSigma = i[0], i[1]
	}
	if o.guide != nil {
		g.guidance.Guide, err = s.loadModel(o.guide, o.guidance.ema, o.computePrecision())
	}
	return err
}

func (s *session) openClassifier(o *sampleJob, g *guides) error {
	if o.classifier == nil {
		return nil
	}
	c, err := inference.LoadClassifier(o.classifier, o.byClassifier.config, inference.LoadOptions{
		Device: s.device, EMA: o.byClassifier.ema, Precision: o.byClassifier.precision(o.computePrecision()), Group: s.group,
	})
	if err != nil {
		return err
	}
	configure(func(o *gotorch.Settings) { o.TF32 = c.Settings().TF32 })
	g.classifier = &inference.ClassifierGuidance{Classifier: c, Scale: o.byClassifier.scale}
	return nil
}

func (g guides) free() {
	if g.guidance != nil && g.guidance.Guide != nil {
		g.guidance.Guide.Free()
	}
	if g.classifier != nil {
		g.classifier.Classifier.Free()
	}
}

// namingGuide adds the flag to the error of a guide that does not fit.
func namingGuide(err error) error {
	if e := (*inference.GuideError)(nil); errors.As(err, &e) {
		return cli.Errorf("--guide: %w", err)
	}
	if e := (*inference.ClassifierError)(nil); errors.As(err, &e) {
		return cli.Errorf("--classifier: %w", err)
	}
	return err
}
