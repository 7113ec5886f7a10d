package train

import (
	"math"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wangkuiyi/gotorch"

	"iddpm/internal/madeup"
	"iddpm/train/engine"
	"iddpm/train/metrics"
)

// Gradients are drawn from a distribution of known mean and covariance. Over many steps both
// estimates must converge to them, for any sizes of the microbatches.
func TestGradNoiseEstimates(t *testing.T) {
	const dims, steps = 20, 6000
	random := rand.New(rand.NewPCG(1, 2))
	wantSquared, wantVariance := 0.0, 0.0
	mean, deviation := make([]float64, dims), make([]float64, dims)
	for d := range dims {
		mean[d], deviation[d] = 0.3*float64(d%3), 0.5+0.1*float64(d)
		wantSquared += mean[d] * mean[d]
		wantVariance += deviation[d] * deviation[d]
	}
	for name, sizes := range map[string][]int{"equal": {4, 4}, "uneven": {4, 4, 2}, "single images": {1, 1, 1}} {
		total := 0
		for _, n := range sizes {
			total += n
		}
		means := averages{}
		for range steps {
			gotorch.Scope(func() {
				n := engine.NoiseNorms{Sizes: sizes}
				whole := make([]float64, dims)
				for _, size := range sizes {
					square := 0.0
					for d := range dims {
						term := 0.0
						for range size {
							term += (mean[d] + deviation[d]*random.NormFloat64()) / float64(total)
						}
						whole[d] += term
						square += term * term
					}
					n.Norms = append(n.Norms, math.Sqrt(square))
				}
				square := 0.0
				for _, v := range whole {
					square += v * v
				}
				variance, squared := n.Estimates(math.Sqrt(square))
				means.add(GradNoiseVariance, variance)
				means.add(GradNoiseSquared, squared)
			})
		}
		if got := means[GradNoiseVariance].mean(); math.Abs(got/wantVariance-1) > 0.05 {
			t.Errorf("%s: tr(Sigma) is %v, want %v", name, got, wantVariance)
		}
		if got := means[GradNoiseSquared].mean(); math.Abs(got-wantSquared) > 0.2 {
			t.Errorf("%s: |G|^2 is %v, want %v", name, got, wantSquared)
		}
		row := means.noiseValues()
		if len(row) != 3 || row[0].Name != GradNoiseScale || math.Abs(row[0].Value/(row[1].Value/row[2].Value)-1) > 1e-12 {
			t.Errorf("%s: columns %v", name, row)
		}
	}
	negative := averages{}
	negative.add(GradNoiseVariance, 3)
	negative.add(GradNoiseSquared, -1)
	if row := negative.noiseValues(); len(row) != 2 {
		t.Errorf("there is a scale although |G|^2 is below 0: %v", row)
	}
}

// Measuring the noise scale does not change the weights, and adds columns only if enabled.
func TestGradientNoiseLeavesTrainingAlone(t *testing.T) {
	c := madeup.Run()
	c.Train.Microbatch = 3
	plainDir, noisyDir := filepath.Join(t.TempDir(), "plain"), filepath.Join(t.TempDir(), "noisy")
	plain := train(t, c, plainDir)
	c.Train.GradientNoise = true
	sameState(t, plain, train(t, c, noisyDir))
	for dir, want := range map[string]bool{plainDir: false, noisyDir: true} {
		rows, err := metrics.Read(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows {
			variance, ok := row.Get(GradNoiseVariance)
			if _, squared := row.Get(GradNoiseSquared); ok != want || squared != want || ok && !(variance > 0) {
				t.Errorf("%s, step %d: variance %v, %t", dir, row.Step, variance, ok)
			}
		}
	}
}

func TestGradientNoiseNeedsMicrobatches(t *testing.T) {
	c := madeup.Run()
	c.Train.GradientNoise = true
	for _, microbatch := range []int{-1, 0, c.Train.BatchSize} {
		c.Train.Microbatch = microbatch
		if _, err := New(c, Run{Dir: t.TempDir()}); err == nil || !strings.Contains(err.Error(), "set microbatch below batch-size 4") {
			t.Errorf("microbatch %d: %v", microbatch, err)
		}
		if err := c.Train.CheckParts(2); err != nil { // each process has a part of the batch
			t.Errorf("microbatch %d of two processes: %v", microbatch, err)
		}
	}
	if err := c.Train.CheckParts(3); err == nil || !strings.Contains(err.Error(), "batch-size 4 is not divisible by the 3 processes") {
		t.Error(err)
	}
}
