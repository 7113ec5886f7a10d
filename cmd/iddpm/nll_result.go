package main

import (
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"github.com/wangkuiyi/gotorch/npy"

	"iddpm/checkpoint"
	"iddpm/diffusion"
	"iddpm/figure"
)

// nllResult is what nll prints.
type nllResult struct {
	Checkpoint     string  `json:"checkpoint"`
	Step           int     `json:"step"`
	Weights        string  `json:"weights"`
	Data           string  `json:"data"`
	NumSamples     int     `json:"num_samples"`
	Timesteps      int     `json:"timesteps"`
	TotalBPD       float64 `json:"total_bpd"` // equation 4, bits/dim
	TotalStderr    float64 `json:"total_bpd_stderr"`
	PriorBPD       float64 `json:"prior_bpd"` // L_T
	PriorStderr    float64 `json:"prior_bpd_stderr"`
	DecoderBPD     float64 `json:"decoder_bpd"` // L_0
	DecoderStderr  float64 `json:"decoder_bpd_stderr"`
	VBTerms        string  `json:"vb_terms"`
	MSETerms       string  `json:"mse_terms"`
	XStartMSETerms string  `json:"xstart_mse_terms"`
	Figure         string  `json:"figure"`
	Images         string  `json:"pictures"` // nll.npz
	Seconds        float64 `json:"seconds"`  // of this process

	files []string // all that were written
}

// report writes the terms and returns the result.
func (e *nllEvaluation) report(c *checkpoint.Checkpoint, data string) (nllResult, error) {
	r := nllResult{
		Checkpoint: c.Path, Step: c.Step, Weights: e.settings.Weights, Data: data,
		NumSamples: e.sum.Len(), Timesteps: len(e.sum.VB), Images: e.path(),
	}
	r.TotalBPD, r.TotalStderr = diffusion.MeanAndError(e.sum.Total)
	r.PriorBPD, r.PriorStderr = diffusion.MeanAndError(e.sum.Prior)
	r.DecoderBPD, r.DecoderStderr = diffusion.MeanAndError(e.sum.Decoder)
	for _, terms := range []struct {
		name string
		sum  []float64
		path *string
	}{{"vb", e.sum.VB, &r.VBTerms}, {"mse", e.sum.EpsilonMSE, &r.MSETerms}, {"xstart_mse", e.sum.XStartMSE, &r.XStartMSETerms}} {
		array, err := npy.New(e.sum.Mean(terms.sum))
		if err != nil {
			return r, err
		}
		*terms.path = filepath.Join(e.dir, terms.name+"_terms.npz")
		if err := npy.WriteNPZFile(*terms.path, npy.Named{Array: array}); err != nil {
			return r, err
		}
		r.files = append(r.files, *terms.path)
	}
	vb := e.sum.Mean(e.sum.VB)
	slices.Reverse(vb)
	chart := figure.Terms([]figure.ModelTerms{{Name: fmt.Sprintf("step %d", c.Step), VB: vb}})
	plots, err := chart.Save(filepath.Join(e.dir, "vb_terms.png"))
	if err != nil {
		return r, err
	}
	r.Figure, r.files = plots[0], slices.Concat(r.files, plots, []string{r.Images})
	return r, nil
}

func (r nllResult) text(w io.Writer) error {
	_, err := fmt.Fprintf(w, `total     %.4f ± %.4f bits/dim (%d images, %d timesteps)
prior     %.3g ± %.2g
decoder   %.4f ± %.4f
terms     %s
          %s
          %s
figure    %s
images    %s
`, r.TotalBPD, r.TotalStderr, r.NumSamples, r.Timesteps, r.PriorBPD, r.PriorStderr, r.DecoderBPD, r.DecoderStderr,
		r.VBTerms, r.MSETerms, r.XStartMSETerms, r.Figure, r.Images)
	return err
}
