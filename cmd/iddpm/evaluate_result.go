package main

import (
	"fmt"
	"io"
	"strings"

	"iddpm/internal/terminal"
)

// evaluateResult is what evaluate prints. Metrics that REF does not allow are null.
type evaluateResult struct {
	Samples           []string       `json:"samples"`
	NumSamples        int            `json:"num_samples"`
	Ref               string         `json:"ref,omitempty"`
	NumRef            int            `json:"num_ref,omitempty"` // images of REF whose features were computed
	ImageSize         int            `json:"image_size"`
	FID               *float64       `json:"fid"`
	SFID              *float64       `json:"sfid"`
	InceptionScore    *float64       `json:"inception_score"`
	InceptionScoreStd *float64       `json:"inception_score_std"` // over splits of 5000 samples
	KID               *float64       `json:"kid"`
	KIDStd            *float64       `json:"kid_std"`    // over subsets of at most 1000 images
	KIDStdErr         *float64       `json:"kid_stderr"` // of the mean over subsets
	Precision         *float64       `json:"precision"`
	Recall            *float64       `json:"recall"`
	Classes           *classesResult `json:"classes,omitempty"` // of --classifier
	Stats             string         `json:"stats,omitempty"`   // .npz
	Seconds           float64        `json:"seconds"`
}

func (r *evaluateResult) text(w io.Writer) error {
	t := terminal.Table{}
	t.Line("samples", "%s: %d of %d x %d pixels", strings.Join(r.Samples, ", "), r.NumSamples, r.ImageSize, r.ImageSize)
	switch {
	case r.NumRef > 0:
		t.Line("reference", "%s: %d images", r.Ref, r.NumRef)
	case r.Ref != "":
		t.Line("reference", "%s: statistics", r.Ref)
	}
	for _, v := range []struct {
		name  string
		value *float64
	}{{"FID", r.FID}, {"sFID", r.SFID}} {
		if v.value != nil {
			t.Line(v.name, "%.4f", *v.value)
		}
	}
	if r.KID != nil {
		t.Line("KID", "%.6f ± %.6f", *r.KID, *r.KIDStdErr)
	}
	if r.InceptionScore != nil {
		t.Line("Inception Score", "%.4f ± %.4f", *r.InceptionScore, *r.InceptionScoreStd)
	}
	if r.Precision != nil {
		t.Line("precision", "%.4f", *r.Precision)
		t.Line("recall", "%.4f", *r.Recall)
	}
	r.Classes.write(&t)
	if r.Stats != "" {
		t.Line("statistics", "%s", r.Stats)
	}
	_, err := fmt.Fprint(w, t.String())
	return err
}
