package evaluate_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wangkuiyi/gotorch"

	"iddpm/evaluate"
	"iddpm/internal/madeup"
)

// golden are results of numpy and scipy.
type golden struct {
	Frechet         float64    `json:"frechet"`
	RankDeficient   float64    `json:"rank_deficient"`
	Score           [2]float64 `json:"score"`
	PrecisionRecall [2]float64 `json:"precision_recall"`
	KID             [2]float64 `json:"kid"`       // torch-fidelity's mean and standard deviation
	KIDSmall        [2]float64 `json:"kid_small"` // of sets below 1000 images
}

func readGolden(t *testing.T) (g golden) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "metrics.json"))
	if err == nil {
		err = json.Unmarshal(text, &g)
	}
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func close(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance) {
		t.Errorf("%s is %.12g, not %.12g", what, got, want)
	}
}

// numbers returns pseudorandom features [n, d] with a scale and an offset.
func numbers(name string, n, d int64, scale, offset float64) gotorch.Tensor {
	return gotorch.FromFloat64s(madeup.Numbers(name, n*d), n, d).MulScalar(scale).AddScalar(offset)
}

// statistics accumulates features, some rows at a time.
func statistics(t *testing.T, x gotorch.Tensor) evaluate.Statistics {
	t.Helper()
	m := evaluate.NewMoments(x.Size(1), gotorch.Device{})
	defer m.Free()
	for i := int64(0); i < x.Size(0); i += 7 {
		m.Add(x.Narrow(0, i, min(7, x.Size(0)-i)))
	}
	s, err := m.Statistics()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func distance(t *testing.T, a, b evaluate.Statistics) float64 {
	t.Helper()
	d, err := evaluate.FrechetDistance(t.Context(), a, b)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestGoldenFrechet(t *testing.T) {
	want := readGolden(t)
	gotorch.Run(func() {
		gotorch.Scope(func() {
			a, b := numbers("a", 40, 6, 1, 0), numbers("b", 50, 6, 1.5, 0.1)
			close(t, "the distance", distance(t, statistics(t, a), statistics(t, b)), want.Frechet, 1e-10)
			close(t, "that the other way", distance(t, statistics(t, b), statistics(t, a)), want.Frechet, 1e-10)
			close(t, "that to itself", distance(t, statistics(t, a), statistics(t, a)), 0, 1e-10)
			few := statistics(t, a.Narrow(0, 0, 4)) // of fewer images than features
			close(t, "that of few", distance(t, few, statistics(t, b.Narrow(0, 0, 5))), want.RankDeficient, 1e-6)
		})
	})
}

// Of diagonal covariances the distance is |mu1 - mu2|^2 + sum (sqrt s1 - sqrt s2)^2.
func TestFrechetOfDiagonals(t *testing.T) {
	a := evaluate.Statistics{Mu: []float64{1, 2}, Sigma: []float64{4, 0, 0, 9}}
	b := evaluate.Statistics{Mu: []float64{0, 4}, Sigma: []float64{1, 0, 0, 25}}
	gotorch.Run(func() { close(t, "the distance", distance(t, a, b), 1+4+1+4, 1e-12) })
}

// asked is a context that ends after its error has been asked for a number of times.
type asked struct {
	context.Context
	left int
}

func (c *asked) Err() error {
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}

// TestInterruptedDistances: an interrupt abandons FID between its decompositions, and KID between
// its subsets.
func TestInterruptedDistances(t *testing.T) {
	gotorch.Run(func() {
		gotorch.Scope(func() {
			x := numbers("a", 40, 6, 1, 0)
			s := statistics(t, x)
			for left := range 3 {
				if _, err := evaluate.FrechetDistance(&asked{t.Context(), left}, s, s); errors.Is(err, context.Canceled) != (left < 2) {
					t.Errorf("FID, interrupted at question %d: %v", left, err)
				}
			}
			ctx := &asked{t.Context(), 5}
			if _, err := evaluate.KernelInceptionDistance(ctx, x, x); !errors.Is(err, context.Canceled) || ctx.left != -1 {
				t.Errorf("KID, interrupted in subset 5: %v, asked %d times after that", err, -1-ctx.left)
			}
		})
	})
}

func TestRefusedStatistics(t *testing.T) {
	one := evaluate.Statistics{Mu: []float64{0}, Sigma: []float64{1}}
	for _, c := range []struct {
		other evaluate.Statistics
		want  string
	}{
		{evaluate.Statistics{Mu: []float64{0, 0}, Sigma: []float64{1, 0, 0, 1}}, "of 1 and of 2 features"},
		{evaluate.Statistics{Mu: []float64{0}, Sigma: []float64{1, 2}}, "of 1 and 2 values"},
		{evaluate.Statistics{Mu: []float64{math.NaN()}, Sigma: []float64{1}}, "not finite"},
		{evaluate.Statistics{Mu: []float64{0}, Sigma: []float64{math.Inf(1)}}, "not finite"},
	} {
		gotorch.Run(func() {
			if _, err := evaluate.FrechetDistance(t.Context(), one, c.other); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v: %v", c.other, err)
			}
		})
	}
	gotorch.Run(func() {
		gotorch.Scope(func() {
			m := evaluate.NewMoments(3, gotorch.Device{})
			m.Add(numbers("a", 1, 3, 1, 0))
			if _, err := m.Statistics(); err == nil || !strings.Contains(err.Error(), "1 images have no covariance") {
				t.Errorf("of one image: %v", err)
			}
		})
	})
}

func TestGoldenInceptionScore(t *testing.T) {
	want := readGolden(t).Score
	onTensorThread(t, func(n *evaluate.Inception) {
		mean, std := n.InceptionScore(numbers("pool", 5003, evaluate.PoolFeatures, 1, 0.5).CastTo(gotorch.Float))
		close(t, "the score", mean, want[0], 1e-5)
		close(t, "its deviation", std, want[1], 1e-5)
	})
}

// A network that predicts N different classes for N images with certainty has score N;
// one that predicts the same for all images has score 1.
func TestInceptionScoreLimits(t *testing.T) {
	onTensorThread(t, func(n *evaluate.Inception) {
		alike := gotorch.FullOn(gotorch.Device{}, gotorch.Float, 1, 5, evaluate.PoolFeatures)
		mean, std := n.InceptionScore(alike)
		close(t, "the score of the same", mean, 1, 1e-12)
		close(t, "its deviation", std, 0, 0)
		mean, _ = n.InceptionScore(numbers("pool", 5, evaluate.PoolFeatures, 1e4, 0).CastTo(gotorch.Float))
		close(t, "the score of the different", mean, 5, 1e-6)
	})
}

func TestGoldenPrecisionRecall(t *testing.T) {
	want := readGolden(t).PrecisionRecall
	gotorch.Run(func() {
		gotorch.Scope(func() {
			reference, samples := numbers("near", 70, 4, 1, 0), numbers("far", 60, 4, 0.6, 0.3)
			precision, recall, err := evaluate.PrecisionRecall(reference, samples)
			if got := [2]float64{precision, recall}; err != nil || got != want {
				t.Errorf("%v, not %v: %v", got, want, err)
			}
		})
	})
}

// More images than a block give the same result as one by one; too few images are an
// error.
func TestPrecisionRecallInBlocks(t *testing.T) {
	gotorch.Run(func() {
		gotorch.Scope(func() {
			reference, samples := numbers("near", 4099, 3, 1, 0), numbers("far", 200, 3, 0.8, 0.2)
			precision, recall, err := evaluate.PrecisionRecall(reference, samples)
			want := [2]float64{share(samples, reference), share(reference, samples)}
			if got := [2]float64{precision, recall}; err != nil || got != want {
				t.Errorf("%v, not %v: %v", got, want, err)
			}
			if _, _, err := evaluate.PrecisionRecall(reference, samples.Narrow(0, 0, 3)); err == nil {
				t.Error("three images have three neighbours")
			}
		})
	})
}

// share computes precision or recall by definition.
func share(x, centres gotorch.Tensor) float64 {
	rows := func(t gotorch.Tensor) (all [][]float64) {
		for row := range slices.Chunk(t.Contiguous().Float64s(), int(t.Size(1))) {
			all = append(all, row)
		}
		return all
	}
	square := func(a, b []float64) (sum float64) {
		for i := range a {
			sum += (a[i] - b[i]) * (a[i] - b[i])
		}
		return sum
	}
	points, balls, inside := rows(x), rows(centres), 0
	radii := make([]float64, len(balls))
	for i, ball := range balls {
		d := make([]float64, len(balls))
		for j := range balls {
			d[j] = square(ball, balls[j])
		}
		slices.Sort(d)
		radii[i] = d[3]
	}
	for _, p := range points {
		for i, ball := range balls {
			if square(p, ball) <= radii[i] {
				inside++
				break
			}
		}
	}
	return float64(inside) / float64(len(points))
}

// TestSet compares features of images added in batches with those of all images at once.
func TestSet(t *testing.T) {
	const n, size = 5, 8
	pixels := madeup.Images("set", n, size)
	onTensorThread(t, func(network *evaluate.Inception) {
		set := network.NewSet(n)
		defer set.Free()
		for _, some := range [][]byte{pixels[:2*size*size*3], pixels[2*size*size*3:]} {
			if err := set.Add(some, size); err != nil {
				t.Fatal(err)
			}
		}
		if err := set.Add(pixels, size); err == nil {
			t.Error("there was room for more")
		}
		pool, spatial := network.Features(gotorch.FromBytes(pixels, gotorch.Byte, n, size, size, 3))
		if off := set.Features().Sub(pool, 1).Abs().Max().Float64(); set.Len() != n || off > 1e-4 {
			t.Errorf("%d images, whose features are off by %g", set.Len(), off)
		}
		for _, c := range []struct {
			name string
			got  func() (evaluate.Statistics, error)
			of   gotorch.Tensor
		}{{"pool", set.Pool, pool}, {"spatial", set.Spatial, spatial}} {
			got, err := c.got()
			want := statistics(t, c.of.CastTo(gotorch.Double))
			if err != nil || len(got.Mu) != len(want.Mu) || len(got.Sigma) != len(want.Sigma) {
				t.Fatalf("%s: %d, %d values: %v", c.name, len(got.Mu), len(got.Sigma), err)
			}
			for i := range want.Sigma {
				if math.Abs(got.Sigma[i]-want.Sigma[i]) > 1e-3 || math.Abs(got.Mu[i%len(want.Mu)]-want.Mu[i%len(want.Mu)]) > 1e-4 {
					t.Fatalf("%s: value %d: %g and %g", c.name, i, got.Sigma[i], want.Sigma[i])
				}
			}
		}
	})
}
