package posthoc

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"
)

// Fit is a target profile as a linear combination of profiles.
type Fit struct {
	Coefficients []float64
	// Residual is the norm of the difference between the target and the combination relative to
	// that of the target: 0 is exact.
	Residual float64
}

// Coefficients returns the linear combination of profiles that is nearest to the target in least
// squares: algorithm 3, with equations 147 to 151. The profiles must differ.
func Coefficients(profiles []Profile, target Profile) (Fit, error) {
	if len(profiles) == 0 {
		return Fit{}, errors.New("no profiles")
	}
	for _, p := range append(slices.Clone(profiles), target) {
		if !(p.Step > 0 && p.Gamma >= 0) || math.IsInf(p.Step, 0) || math.IsInf(p.Gamma, 0) {
			return Fit{}, fmt.Errorf("step %g with gamma %g is not a profile", p.Step, p.Gamma)
		}
	}
	// With every profile scaled to norm 1 the diagonal of A is 1, and A is as well conditioned as
	// a scaling can make it.
	n := len(profiles)
	norms, targetNorm := make([]float64, n), math.Sqrt(dot(target, target))
	for i, p := range profiles {
		norms[i] = math.Sqrt(dot(p, p))
	}
	a, b := mat.NewSymDense(n, nil), mat.NewVecDense(n, nil)
	for i, p := range profiles {
		for j, q := range profiles[:i+1] {
			a.SetSym(i, j, dot(p, q)/norms[i]/norms[j])
		}
		b.SetVec(i, dot(p, target)/norms[i]/targetNorm)
	}
	x, err := solve(a, b)
	if err != nil {
		return Fit{}, err
	}
	var ax mat.VecDense
	ax.MulVec(a, x)
	fit := Fit{make([]float64, n), math.Sqrt(max(0, 1-2*mat.Dot(b, x)+mat.Dot(x, &ax)))}
	for i := range fit.Coefficients {
		fit.Coefficients[i] = x.AtVec(i) * targetNorm / norms[i]
	}
	return fit, nil
}

// solve returns x with A x = b, with one step of iterative refinement.
func solve(a *mat.SymDense, b *mat.VecDense) (*mat.VecDense, error) {
	var c mat.Cholesky
	x, residual := new(mat.VecDense), new(mat.VecDense)
	if !c.Factorize(a) {
		return nil, errors.New("two of the profiles are equal, or nearly so")
	}
	if err := c.SolveVecTo(x, b); err != nil && !errors.As(err, new(mat.Condition)) {
		return nil, err
	}
	residual.MulVec(a, x)
	residual.SubVec(b, residual)
	if err := c.SolveVecTo(residual, residual); err != nil && !errors.As(err, new(mat.Condition)) {
		return nil, err
	}
	x.AddVec(x, residual)
	return x, nil
}
