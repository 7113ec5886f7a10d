package diffusion

import (
	"fmt"
	"math"
	"testing"

	"github.com/wangkuiyi/gotorch"

	"iddpm/internal/golden"
)

// TestLossWeights compares the weights with their published forms for each prediction type.
func TestLossWeights(t *testing.T) {
	const steps = 50
	type forms map[ModelMeanType]func(snr float64) float64
	for _, c := range []struct {
		name string
		want forms
	}{
		{"none", forms{
			Epsilon: func(float64) float64 { return 1 }, XStart: func(float64) float64 { return 1 }, Velocity: func(float64) float64 { return 1 }}},
		{"snr", forms{
			Epsilon:  func(float64) float64 { return 1 },
			XStart:   func(snr float64) float64 { return snr },
			Velocity: func(snr float64) float64 { return snr / (snr + 1) }}},
		{"min-snr:5", forms{ // Hang et al., equation 8 and the text below it
			Epsilon:  func(snr float64) float64 { return math.Min(snr, 5) / snr },
			XStart:   func(snr float64) float64 { return math.Min(snr, 5) },
			Velocity: func(snr float64) float64 { return math.Min(snr, 5) / (snr + 1) }}},
		{"p2:0.5", forms{ // Choi et al., equation 8
			Epsilon:  func(snr float64) float64 { return 1 / math.Sqrt(1+snr) },
			XStart:   func(snr float64) float64 { return snr / math.Sqrt(1+snr) },
			Velocity: func(snr float64) float64 { return snr / math.Pow(1+snr, 1.5) }}},
	} {
		weight, err := ParseLossWeight(c.name)
		if err != nil {
			t.Fatal(err)
		}
		for meanType, form := range c.want {
			d := process(t, Cosine, steps, Objective{MeanType: meanType, LossWeight: weight})
			gotorch.Scope(func() {
				all := make([]int64, steps)
				for i := range all {
					all[i] = int64(i)
				}
				want := each(steps, func(t int) float64 { return form(d.AlphasCumprod[t] / (1 - d.AlphasCumprod[t])) })
				got := make([]float64, steps)
				for i, v := range d.At(all).lossWeights(steps).Float32s() {
					got[i] = float64(v)
				}
				golden.WithinRelative(t, fmt.Sprint(c.name, meanType), got, want, 1e-6)
			})
		}
	}
}

// TestWeightedLossIgnoresPredictionType: networks that predict the same x_0, whether by
// epsilon, x_0 or v, have the same weighted loss, and the same gradient of x_0.
func TestWeightedLossIgnoresPredictionType(t *testing.T) {
	steps := []int64{1, 10, 30, 45}
	for _, weight := range []LossWeight{{SNR, 0}, {MinSNR, 5}, {P2, 1}} {
		for _, varType := range []ModelVarType{FixedSmall, LearnedRange} {
			var want Losses
			for _, meanType := range []ModelMeanType{Epsilon, XStart, Velocity} {
				d := process(t, Cosine, 50, Objective{MeanType: meanType, VarType: varType, LossType: RescaledMSE, LossWeight: weight})
				x, noise, at := images(4, 3, 5, 4), normal(1, 4, 3, 5, 4), d.At(steps)
				predicted := x.Add(normal(2, 4, 3, 5, 4), 0.3)
				xT := d.QSample(x, at, noise)
				out := d.trainingTarget(predicted, xT, at, d.predictEpsFromXStart(predicted, xT, at))
				if d.learnsVariance() {
					out = gotorch.Cat([]gotorch.Tensor{out, normal(3, 4, 3, 5, 4)}, 1)
				}
				got := d.TrainingLosses(echo(out), x, at, noise, Cond{})
				if want.Loss.Defined() {
					golden.WithinRelative(t, fmt.Sprint(weight, varType, meanType), got.Loss.Float32s(), want.Loss.Float32s(), 1e-4)
				} else {
					want = got
				}
			}
		}
	}
}

// TestVelocityLossOfEpsilonLoss: for one predicted x_0 the unweighted loss of v is (SNR + 1)/SNR
// times that of epsilon, and SNR + 1 times that of x_0 (Salimans & Ho 2022, section 4).
func TestVelocityLossOfEpsilonLoss(t *testing.T) {
	steps := []int64{0, 3, 20, 40}
	mse := map[ModelMeanType][]float32{}
	var snr []float64
	for _, meanType := range []ModelMeanType{Epsilon, XStart, Velocity} {
		d := process(t, Cosine, 50, Objective{MeanType: meanType})
		gotorch.Scope(func() {
			x, noise, at := images(4, 3, 5, 4), normal(1, 4, 3, 5, 4), d.At(steps)
			predicted, xT := x.Add(normal(2, 4, 3, 5, 4), 0.3), d.QSample(x, at, noise)
			out := d.trainingTarget(predicted, xT, at, d.predictEpsFromXStart(predicted, xT, at))
			mse[meanType] = d.TrainingLosses(echo(out), x, at, noise, Cond{}).MSE.Float32s()
		})
		snr = each(len(steps), func(i int) float64 { return d.AlphasCumprod[steps[i]] / (1 - d.AlphasCumprod[steps[i]]) })
	}
	scaled := func(from ModelMeanType, factor func(snr float64) float64) (v []float32) {
		for i, m := range mse[from] {
			v = append(v, m*float32(factor(snr[i])))
		}
		return v
	}
	golden.WithinRelative(t, "of epsilon", mse[Velocity], scaled(Epsilon, func(snr float64) float64 { return (snr + 1) / snr }), 1e-4)
	golden.WithinRelative(t, "of x_0", mse[Velocity], scaled(XStart, func(snr float64) float64 { return snr + 1 }), 1e-4)
}

// TestWeightedLossGradients compares with the composition from operators, for every
// prediction and variance type.
func TestWeightedLossGradients(t *testing.T) {
	for meanName, meanType := range meanTypes {
		for varName, varType := range varTypes {
			d := process(t, Cosine, 50, Objective{MeanType: meanType, VarType: varType, LossWeight: LossWeight{MinSNR, 5}})
			t.Run(meanName+varName, func(t *testing.T) { compareFusedLosses(t, d, []int64{0, 1, 25, 49}) })
		}
	}
}

func TestParseLossWeight(t *testing.T) {
	for name, want := range map[string]LossWeight{
		"": {}, "none": {}, "snr": {Kind: SNR}, "min-snr": {MinSNR, 5}, "min-snr:2.5": {MinSNR, 2.5}, "p2": {P2, 1}, "p2:0.5": {P2, 0.5},
	} {
		if got, err := ParseLossWeight(name); err != nil || got != want {
			t.Errorf("%q: %v, %v", name, got, err)
		}
	}
}

// FuzzParseLossWeight: a weight is either refused or has usable numbers.
func FuzzParseLossWeight(f *testing.F) {
	for _, name := range []string{"none", "snr", "min-snr:5", "p2:0.5", "p2:-1", "min-snr:", "snr:1", "min-snr:Inf", "p2:NaN"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		w, err := ParseLossWeight(name)
		if err == nil && (w.Kind == MinSNR || w.Kind == P2) && !(w.Gamma > 0 && !math.IsInf(w.Gamma, 0)) {
			t.Errorf("%q: gamma is %v", name, w.Gamma)
		}
		if err != nil && w != (LossWeight{}) {
			t.Errorf("%q: %v with an error", name, w)
		}
	})
}
