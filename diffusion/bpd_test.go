package diffusion

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/wangkuiyi/gotorch"

	"iddpm/internal/golden"
)

// TestCalcBPDMatchesTrainingLosses: each column is the KL loss at its timestep, and the
// total is their sum plus the prior term.
func TestCalcBPDMatchesTrainingLosses(t *testing.T) {
	d := process(t, Cosine, 12, Objective{LossType: KL})
	gotorch.Scope(func() {
		xStart, noise := images(3, 2, 4, 4), noiseOf(3, 2, 4, 4)
		network := gaussianData(d, 0.5)
		var steps []int
		b, err := d.CalcBPD(context.Background(), network, xStart, Cond{}, BPDOptions{
			Noise: noise.At, NoClipDenoised: true,
			Progress: func(t int) error { steps = append(steps, t); return nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		want := d.PriorBPD(xStart)
		for k, step := range steps {
			if step != 11-k {
				t.Fatalf("steps %v, want 11 to 0", steps)
			}
			loss := d.TrainingLosses(network, xStart, d.AtStep(step, 3), noise.At(step), Cond{}).Loss
			golden.WithinOfMax(t, "vb", b.VB.Select(1, int64(k)).Float32s(), loss.Float32s(), 1e-5)
			want = want.Add(loss, 1)
		}
		golden.WithinRelative(t, "total", b.Total.Float32s(), want.Float32s(), 1e-6)
		if !slices.Equal(b.VB.Shape(), []int64{3, 12}) || !slices.Equal(b.EpsilonMSE.Shape(), []int64{3, 12}) {
			t.Errorf("shapes %v, %v", b.VB.Shape(), b.EpsilonMSE.Shape())
		}
		if b.Total.RequiresGrad() {
			t.Error("the bound tracks gradients")
		}
	})
}

// TestCalcBPDWithTrueXStart: for a network that returns the true x_0 all terms but the
// decoder's vanish.
func TestCalcBPDWithTrueXStart(t *testing.T) {
	d := process(t, Cosine, 12, Objective{VarType: FixedSmall})
	gotorch.Scope(func() {
		xStart := images(2, 3, 4, 4)
		b, err := d.CalcBPD(context.Background(), oracle(d, xStart), xStart, Cond{}, BPDOptions{Noise: noiseOf(2, 3, 4, 4).At})
		if err != nil {
			t.Fatal(err)
		}
		if largest := b.XStartMSE.Max().Float64(); largest > 1e-9 {
			t.Errorf("x_0 is off by %v", largest)
		}
		if largest := b.EpsilonMSE.Max().Float64(); largest > 1e-6 {
			t.Errorf("epsilon is off by %v", largest)
		}
		if largest := b.VB.Narrow(1, 0, 11).Abs().Max().Float64(); largest > 1e-5 {
			t.Errorf("a divergence is %v", largest)
		}
	})
}

func TestPriorBPD(t *testing.T) {
	d := process(t, Linear, 1000, Objective{})
	gotorch.Scope(func() {
		// mean^2/2 + (variance - 1 - log variance)/2, in bits
		a := d.AlphasCumprod[999]
		want := (a*0.25 - a - math.Log(1-a)) / 2 / math.Ln2
		got := d.PriorBPD(gotorch.FullOn(cpu, gotorch.Float, 0.5, 2, 3, 4, 4)).Float32s()
		golden.WithinRelative(t, "prior", got, []float64{want, want}, 1e-2)
	})
}

// TestCalcBPDProgressError: an error of Progress ends the evaluation.
func TestCalcBPDProgressError(t *testing.T) {
	d := process(t, Cosine, 12, Objective{})
	stop := errors.New("stop")
	gotorch.Scope(func() {
		_, err := d.CalcBPD(context.Background(), gaussianData(d, 1), images(1, 1, 4, 4), Cond{}, BPDOptions{
			Noise:    noiseOf(1, 1, 4, 4).At,
			Progress: func(int) error { return stop },
		})
		if !errors.Is(err, stop) {
			t.Errorf("error %v, want Progress's", err)
		}
	})
}
