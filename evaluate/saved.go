package evaluate

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/wangkuiyi/gotorch"
	"github.com/wangkuiyi/gotorch/npy"
)

// SavedStatistics are the statistics of a set of images in an .npz: mu and sigma of the
// pooled features (the names of pytorch-fid and guided-diffusion), mu_s and sigma_s of
// the spatial features (guided-diffusion), and the pooled features themselves.
type SavedStatistics struct {
	Pool      *Statistics    // nil: none
	Spatial   *Statistics    // nil: none
	Features  gotorch.Tensor // [N, 2048]; undefined: none
	HasImages bool           // the file also has the images, arr_0
}

// ReadStatistics reads an .npz, which may lack any of them, but not both the images and the
// pooled statistics. The error names the file.
func ReadStatistics(path string) (s SavedStatistics, err error) {
	z, err := npy.OpenNPZ(path)
	if err != nil {
		return s, err
	}
	defer z.Close()
	s.HasImages = slices.Contains(z.Names(), "arr_0")
	if s.Pool, err = statisticsIn(z, "mu", "sigma", PoolFeatures); err == nil {
		s.Spatial, err = statisticsIn(z, "mu_s", "sigma_s", SpatialFeatures)
	}
	if err == nil && slices.Contains(z.Names(), "features") {
		s.Features, err = featuresIn(z)
	}
	if err == nil && s.Pool == nil && !s.HasImages {
		err = fmt.Errorf("neither images (arr_0) nor statistics (mu, sigma), only %q", z.Names())
	}
	if err != nil {
		return s, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// statisticsIn reads the mean and the covariance of d features; nil if the file has none.
func statisticsIn(z *npy.NPZ, mu, sigma string, d int64) (*Statistics, error) {
	if !slices.Contains(z.Names(), mu) || !slices.Contains(z.Names(), sigma) {
		return nil, nil
	}
	mean, err := floats(z, mu, d)
	if err != nil {
		return nil, err
	}
	covariance, err := floats(z, sigma, d, d)
	if err == nil {
		err = checkCovariance(covariance, int(d))
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", sigma, err)
	}
	return &Statistics{Mu: mean, Sigma: covariance}, nil
}

// checkCovariance rejects a matrix [d, d] with a negative variance, or with an asymmetry
// beyond rounding.
func checkCovariance(s []float64, d int) error {
	largest := 0.0
	for i := range d {
		if s[i*d+i] < 0 {
			return fmt.Errorf("not a covariance: the variance of feature %d is %g", i, s[i*d+i])
		}
		largest = max(largest, s[i*d+i])
	}
	for i := range d {
		for j := range i {
			if math.Abs(s[i*d+j]-s[j*d+i]) > 1e-3*largest {
				return fmt.Errorf("not a covariance: it is not symmetric at %d, %d", i, j)
			}
		}
	}
	return nil
}

// floats reads an array of finite numbers of a shape.
func floats(z *npy.NPZ, name string, shape ...int64) ([]float64, error) {
	a, err := z.Read(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if !slices.Equal(a.Shape, shape) {
		return nil, fmt.Errorf("%s has shape %v, not %v as for the Inception network", name, a.Shape, shape)
	}
	values := a.Float64s()
	if slices.ContainsFunc(values, notFinite) {
		return nil, fmt.Errorf("%s holds non-finite numbers", name)
	}
	return values, nil
}

func notFinite(v float64) bool { return math.IsNaN(v) || math.IsInf(v, 0) }

func featuresIn(z *npy.NPZ) (gotorch.Tensor, error) {
	a, err := z.Read("features")
	if err != nil {
		return gotorch.Tensor{}, err
	}
	values := make([]float32, a.Len())
	for i, v := range a.Float64s() {
		values[i] = float32(v)
	}
	switch {
	case len(a.Shape) != 2 || a.Shape[0] == 0 || a.Shape[1] != PoolFeatures:
		err = fmt.Errorf("%v is not [N, %d] with N above 0", a.Shape, PoolFeatures)
	case slices.ContainsFunc(values, func(v float32) bool { return notFinite(float64(v)) }):
		err = errors.New("they hold non-finite numbers")
	}
	if err != nil {
		return gotorch.Tensor{}, fmt.Errorf("features: %w", err)
	}
	return gotorch.FromFloat32s(values, a.Shape...), nil
}

// Save writes the statistics and features to an .npz, atomically. Pool, Spatial and Features
// must be set.
func (s SavedStatistics) Save(path string) error {
	var arrays []npy.Named
	var errs []error
	add := func(name string, a *npy.Array, err error) {
		arrays, errs = append(arrays, npy.Named{Name: name, Array: a}), append(errs, err)
	}
	for _, of := range []struct {
		end string
		*Statistics
	}{{"", s.Pool}, {"_s", s.Spatial}} {
		d := int64(len(of.Mu))
		mu, err := npy.New(of.Mu, d)
		add("mu"+of.end, mu, err)
		sigma, err := npy.New(of.Sigma, d, d)
		add("sigma"+of.end, sigma, err)
	}
	features, err := npy.New(s.Features.To(gotorch.Device{}).Float32s(), s.Features.Shape()...)
	add("features", features, err)
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := npy.WriteNPZFile(path, arrays...); err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	return nil
}
