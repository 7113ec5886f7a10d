package gotorch

import (
	"fmt"
	"math"
	"strings"
	"testing"
)

// oddImages are shapes with one sample and several, with one pixel, and with numbers
// of elements that are and are not multiples of a quad or a run.
var oddImages = [][]int64{{1, 1, 1, 1}, {3, 1, 1, 1}, {1, 3, 5, 3}, {3, 3, 5, 3}, {3, 1, 5, 3}, {3, 4, 7, 6}, {1, 3, 32, 32}}

// rowsOf returns n rows as a view of a wider table.
func rowsOf(d Device, n int64, row func(i int64) []float64) Tensor {
	var table []float64
	columns := int64(0)
	for i := range n {
		r := row(i)
		columns = int64(len(r))
		table = append(append(append(table, 99), r...), 98, 97)
	}
	return FromFloat64s(table, n, columns+3).To(d, Float).Narrow(1, 1, columns)
}

func TestDiffusionQSample(t *testing.T) { checkQSample(t, Device{}) }

// checkQSample compares with libtorch's operators: bit for bit on the CPU, where
// libtorch uses FMA, and else within 1 ulp.
func checkQSample(t *testing.T, d Device) {
	exact := d.Type == CPU && CPUCapability() != "DEFAULT"
	for i, key := range philoxKeys {
		for _, shape := range oddImages {
			Scope(func() {
				n := shape[0]
				x := PhiloxUniform(Device{}, Float, PhiloxKey{Seed: 3}, shape...).To(d)
				rows := rowsOf(d, n, func(i int64) []float64 { return []float64{0.9 / float64(i+1), 0.3 * float64(i+1)} })
				if i == 1 {
					x, rows = x.Contiguous(), rows.Narrow(0, 0, 1).Expand(n, QSampleColumns)
				}
				xT, noise := DiffusionQSample(x, rows, key)
				z := PhiloxNormal(d, Float, key, shape...)
				column := func(j int64) Tensor { return rows.Select(1, j).View(n, 1, 1, 1) }
				want := column(0).Mul(x).Addcmul(column(1), z, 1)
				if !Equal(noise, z) || !noise.IsChannelsLast() || !xT.IsChannelsLast() {
					t.Errorf("%v %+v: the noise is not PhiloxNormal's, or lies otherwise", shape, key)
				}
				if exact && !Equal(xT, want) {
					t.Errorf("%v %+v: x_t differs by %v", shape, key, xT.Sub(want, 1).Abs().Max())
				}
				compareTensors(t, fmt.Sprint(shape, key), xT, want, 1.2e-7)
			})
		}
	}
}

// compareTensors compares within tolerance times the largest finite value, at least 1.
// A NaN equals a NaN, and an infinity equals itself.
func compareTensors(t *testing.T, what string, got, want Tensor, tolerance float64) {
	t.Helper()
	checkShape(t, got, want.Shape()...)
	a, b := got.Float64s(), want.Float64s()
	largest := 1.0
	for _, v := range b {
		if !math.IsInf(v, 0) && !math.IsNaN(v) {
			largest = max(largest, math.Abs(v))
		}
	}
	for i := range a {
		if !close64(a[i]/largest, b[i]/largest, tolerance) {
			t.Errorf("%s: element %d is %v, want %v", what, i, a[i], b[i])
			return
		}
	}
}

// reverseStep is a parametrisation of the step from x_t to x_{t-1}: its rows, and the
// same step by libtorch's operators.
type reverseStep struct {
	prediction string // of "epsilon", "x_0" and "x_{t-1}"
	variance   string // of "large", "small", "range" and "learned"; "ddim" for DDIM
	eta        float64
	learned    bool // the network's output has 2C channels
}

// coefficients are the constants of a step in the paper's notation.
type coefficients struct {
	coef1, coef2, recip, recipm1, prev, beta, betaTilde, later float64
}

// coefficientsOf returns the coefficients for the alphasCumprod of t and t-1.
func coefficientsOf(alphas, prev float64) coefficients {
	beta := 1 - alphas/prev
	c := coefficients{
		coef1: beta * math.Sqrt(prev) / (1 - alphas), coef2: (1 - prev) * math.Sqrt(1-beta) / (1 - alphas),
		recip: math.Sqrt(1 / alphas), recipm1: math.Sqrt(1/alphas - 1),
		prev: prev, beta: beta, betaTilde: beta * (1 - prev) / (1 - alphas), later: 1,
	}
	if prev == 1 {
		c.later = 0
	}
	return c
}

// logs returns the log variances; at t = 0 betaTilde's is that of t = 1.
func (c coefficients) logs() (beta, betaTilde float64) {
	return math.Log(c.beta), math.Log(max(c.betaTilde, 1e-5))
}

func (c coefficients) direction(eta float64) float64 {
	return math.Sqrt(1 - c.prev - eta*eta*c.betaTilde)
}

func (s reverseStep) row(c coefficients) []float64 {
	beta, small := c.logs()
	x0 := map[string][]float64{"epsilon": {c.recip, -c.recipm1}, "x_0": {0, 1}, "x_{t-1}": {-c.coef2 / c.coef1, 1 / c.coef1}}[s.prediction]
	if s.variance == "ddim" {
		along := c.direction(s.eta) / c.recipm1
		return append(x0, math.Sqrt(c.prev)-along, along*c.recip, 0, 0, 0, s.eta*math.Sqrt(c.betaTilde))
	}
	mean := []float64{c.coef1, c.coef2, 0}
	if s.prediction == "x_{t-1}" {
		mean = []float64{0, 0, 1}
	}
	log := map[string][]float64{"large": {beta, 0}, "small": {small, 0}, "range": {(beta + small) / 2, (beta - small) / 2}, "learned": {0, 1}}[s.variance]
	return append(append(append(x0, mean...), log...), c.later)
}

// composed is the reference implementation: a batch's coefficients are cs. Without noise z is undefined.
func (s reverseStep) composed(out, x, z Tensor, cs []coefficients, clip bool) (previous, x0 Tensor) {
	of := func(f func(c coefficients) float64) Tensor {
		var list []float64
		for _, c := range cs {
			list = append(list, f(c))
		}
		return FromFloat64s(list, int64(len(cs)), 1, 1, 1).To(x.Device(), Float)
	}
	prediction, v := out, Tensor{}
	if s.learned {
		prediction, v = out.Chunk(2, 1)[0], out.Chunk(2, 1)[1]
	}
	x0 = s.xStart(prediction, x, of)
	if clip {
		x0 = x0.Clamp(-1, 1)
	}
	previous = s.mean(x0, prediction, x, of)
	if z.Defined() {
		previous = previous.Addcmul(s.deviation(v, of), z, 1)
	}
	return previous, x0
}

// perSample makes a coefficient a tensor [N, 1, 1, 1].
type perSample func(func(c coefficients) float64) Tensor

func (s reverseStep) xStart(prediction, x Tensor, of perSample) Tensor {
	switch s.prediction {
	case "x_0":
		return prediction
	case "x_{t-1}":
		ratio := of(func(c coefficients) float64 { return c.coef2 / c.coef1 })
		return of(func(c coefficients) float64 { return 1 / c.coef1 }).Mul(prediction).Addcmul(ratio, x, -1)
	}
	recipm1 := of(func(c coefficients) float64 { return c.recipm1 })
	return of(func(c coefficients) float64 { return c.recip }).Mul(x).Addcmul(recipm1, prediction, -1)
}

// mean is x_{t-1} without the noise.
func (s reverseStep) mean(x0, prediction, x Tensor, of perSample) Tensor {
	switch {
	case s.variance == "ddim":
		epsilon := of(func(c coefficients) float64 { return c.recip }).Mul(x).Sub(x0, 1).Div(of(func(c coefficients) float64 { return c.recipm1 }))
		direction := of(func(c coefficients) float64 { return c.direction(s.eta) })
		return of(func(c coefficients) float64 { return math.Sqrt(c.prev) }).Mul(x0).Addcmul(direction, epsilon, 1)
	case s.prediction == "x_{t-1}":
		return prediction
	}
	coef2 := of(func(c coefficients) float64 { return c.coef2 })
	return of(func(c coefficients) float64 { return c.coef1 }).Mul(x0).Addcmul(coef2, x, 1)
}

func (s reverseStep) deviation(v Tensor, of perSample) Tensor {
	large := of(func(c coefficients) float64 { beta, _ := c.logs(); return beta })
	small := of(func(c coefficients) float64 { _, small := c.logs(); return small })
	log := large
	switch s.variance {
	case "ddim":
		return of(func(c coefficients) float64 { return s.eta * math.Sqrt(c.betaTilde) })
	case "small":
		log = small
	case "range":
		log = large.Add(small, 1).MulScalar(0.5).Addcmul(large.Sub(small, 1).MulScalar(0.5), v, 1)
	case "learned":
		log = v
	}
	return log.MulScalar(0.5).Exp().Mul(of(func(c coefficients) float64 { return c.later }))
}

func reverseSteps() (list []reverseStep) {
	for _, prediction := range []string{"epsilon", "x_0", "x_{t-1}"} {
		for _, variance := range []string{"large", "small", "range", "learned"} {
			list = append(list, reverseStep{prediction, variance, 0, variance == "range" || variance == "learned"})
		}
		for _, eta := range []float64{0, 0.7, 1} {
			list = append(list, reverseStep{prediction, "ddim", eta, false}, reverseStep{prediction, "ddim", eta, true})
		}
	}
	return list
}

func TestDiffusionReverseStep(t *testing.T) { checkReverseStep(t, Device{}, 1e-6) }

// checkReverseStep compares every parametrisation with its reference implementation, for
// each kind of noise.
func checkReverseStep(t *testing.T, d Device, tolerance float64) {
	key := PhiloxKey{Seed: 4, Stream: 5, Step: 6, FirstSample: 7}
	for _, s := range reverseSteps() {
		for i, shape := range oddImages {
			Scope(func() {
				in := newReverseInputs(d, s, shape)
				for _, clip := range []bool{false, true} {
					what := fmt.Sprintf("%+v %v, clipped %v", s, shape, clip)
					noise := PhiloxNormal(d, Float, key, shape...)
					in.compare(t, what+", no noise", ReverseStepOptions{Clip: clip}, tolerance)
					in.compare(t, what+", noise", ReverseStepOptions{Clip: clip, Noise: noise}, tolerance)
					in.compare(t, what+", row-major noise", ReverseStepOptions{Clip: clip, Noise: noise.Contiguous()}, tolerance)
				}
				if i == 3 {
					in.spoil()
					in.compare(t, fmt.Sprintf("%+v, broken", s), ReverseStepOptions{Clip: true, Noise: in.x}, tolerance)
				}
			})
		}
	}
}

// reverseInputs are the inputs for a batch whose samples have different timesteps; the
// last of three has t = 0.
type reverseInputs struct {
	step         reverseStep
	cs           []coefficients
	out, x, rows Tensor
}

func newReverseInputs(d Device, s reverseStep, shape []int64) *reverseInputs {
	in := &reverseInputs{step: s, x: PhiloxNormal(Device{}, Float, PhiloxKey{Seed: 1}, shape...).To(d)}
	wide := append([]int64{}, shape...)
	if s.learned {
		wide[1] *= 2
	}
	in.out = PhiloxNormal(Device{}, Float, PhiloxKey{Seed: 2}, wide...).To(d)
	for i := range shape[0] {
		alphas := [][2]float64{{0.05, 0.1}, {0.6, 0.7}, {0.98, 1}}[i]
		in.cs = append(in.cs, coefficientsOf(alphas[0], alphas[1]))
	}
	in.rows = rowsOf(d, shape[0], func(i int64) []float64 { return s.row(in.cs[i]) })
	if shape[0] == 1 {
		in.rows = in.rows.Expand(1, ReverseStepColumns)
	}
	return in
}

// spoil puts non-finite values into three samples: a NaN, an infinity that clipping
// removes, and a variance that overflows at t = 0.
func (in *reverseInputs) spoil() {
	in.out = in.out.Clone()
	channels := in.out.Size(1)
	at := func(n, c, y, x int64) Tensor {
		return in.out.Narrow(0, n, 1).Narrow(1, c, 1).Narrow(2, y, 1).Narrow(3, x, 1)
	}
	at(0, 1, 2, 1).FillI(math.NaN())
	at(0, channels-1, 3, 2).FillI(math.NaN())
	if in.step.prediction != "x_{t-1}" {
		at(1, 0, 1, 1).FillI(math.Inf(1))
	}
	at(2, channels-1, 0, 0).FillI(400)
}

func (in *reverseInputs) compare(t *testing.T, what string, o ReverseStepOptions, tolerance float64) {
	t.Helper()
	previous, x0 := DiffusionReverseStep(in.out, in.x, in.rows, o)
	wantPrevious, wantX0 := in.step.composed(in.out, in.x, o.Noise, in.cs, o.Clip)
	compareTensors(t, what+": x_{t-1}", previous, wantPrevious, tolerance)
	compareTensors(t, what+": x_0", x0, wantX0, tolerance)
	if !previous.IsChannelsLast() || !x0.IsChannelsLast() {
		t.Errorf("%s: not channels-last", what)
	}
}

// TestDiffusionStepsLayouts uses other layouts of rows and images, a batch in parts,
// and an empty batch.
func TestDiffusionStepsLayouts(t *testing.T) {
	Scope(func() {
		key := PhiloxKey{Seed: 4, FirstSample: 3}
		s := reverseStep{"epsilon", "range", 0, true}
		in := newReverseInputs(Device{}, s, []int64{3, 3, 5, 4})
		row := in.rows.Narrow(0, 1, 1).Expand(3, ReverseStepColumns)
		noise := PhiloxNormal(Device{}, Float, PhiloxKey{Seed: 5}, in.x.Shape()...)
		all, _ := DiffusionReverseStep(in.out, in.x, row, ReverseStepOptions{Noise: noise})
		other, _ := DiffusionReverseStep(in.out.Contiguous(), in.x.Contiguous(), row.Contiguous(), ReverseStepOptions{Noise: noise.Contiguous()})
		if !Equal(all, other) {
			t.Error("row-major images, or contiguous rows, give another result")
		}
		noised, _ := DiffusionQSample(in.x, row.Narrow(1, 2, 2), key)
		for i := range int64(3) {
			one := key
			one.FirstSample += i
			part := func(x Tensor) Tensor { return x.Narrow(0, i, 1) }
			previous, _ := DiffusionReverseStep(part(in.out), part(in.x), part(row), ReverseStepOptions{Noise: part(noise)})
			xT, _ := DiffusionQSample(part(in.x), part(row).Narrow(1, 2, 2), one)
			if !Equal(previous, part(all)) || !Equal(xT, part(noised)) {
				t.Errorf("sample %d alone differs from what it is in the batch", i)
			}
		}
		none := zeros(0, 3, 5, 4)
		xT, _ := DiffusionQSample(none, zeros(0, QSampleColumns), key)
		checkShape(t, xT, 0, 3, 5, 4)
		previous, _ := DiffusionReverseStep(none, none, zeros(0, ReverseStepColumns), ReverseStepOptions{})
		checkShape(t, previous, 0, 3, 5, 4)
	})
}

func TestDiffusionStepsRefuse(t *testing.T) {
	zeros := func(shape ...int64) Tensor { return zeros(shape...) }
	x, rows, two := zeros(2, 3, 4, 4), zeros(2, ReverseStepColumns), zeros(2, QSampleColumns)
	leaf := withGrad(zeros(2, 3, 4, 4))
	reverse := func(out, x, rows Tensor, o ReverseStepOptions) func() {
		return func() { DiffusionReverseStep(out, x, rows, o) }
	}
	q := func(x, rows Tensor, key PhiloxKey) func() { return func() { DiffusionQSample(x, rows, key) } }
	for says, call := range map[string]func(){
		"needs images [N, C, H, W], not [2, 3, 4]": q(zeros(2, 3, 4), two, PhiloxKey{}),
		"rows [2, 8] do not fit 2 images":          q(x, rows, PhiloxKey{}),
		"rows [1, 2] do not fit 2 images":          q(x, two.Narrow(0, 0, 1), PhiloxKey{}),
		"not CPUDoubleType":                        q(x.CastTo(Double), two, PhiloxKey{}),
		"not CPUHalfType":                          q(x, two.CastTo(Half), PhiloxKey{}),
		"has no gradient":                          q(leaf, two, PhiloxKey{}),
		"CPUFloatType[1], not one int64 on cpu":    q(x, two, PhiloxKey{StepOf: zeros(1)}),
		"CPULongType[3], not one int64 on cpu":     q(x, two, PhiloxKey{StepOf: FromInt64s([]int64{1, 2, 3})}),
		"needs images [N, C, H, W], not [3, 4, 4]": reverse(zeros(3, 4, 4), zeros(3, 4, 4), rows, ReverseStepOptions{}),
		"rows [2, 2] do not fit 2 images":          reverse(x, x, two, ReverseStepOptions{}),
		"the network's [2, 5, 4, 4] does not fit":  reverse(zeros(2, 5, 4, 4), x, rows, ReverseStepOptions{}),
		"the network's [2, 3, 4, 5] does not fit":  reverse(zeros(2, 3, 4, 5), x, rows, ReverseStepOptions{}),
		"one device, not CPUBFloat16Type":          reverse(x.CastTo(BFloat16), x, rows, ReverseStepOptions{}),
		"one device, not CPULongType":              reverse(x, x, rows.CastTo(Long), ReverseStepOptions{}),
		"noise [2, 3, 4, 1] does not fit images":   reverse(x, x, rows, ReverseStepOptions{Noise: zeros(2, 3, 4, 1)}),
		"one device, not CPUCharType":              reverse(x, x, rows, ReverseStepOptions{Noise: x.CastTo(Char)}),
		"a step has no gradient":                   reverse(leaf, x, rows, ReverseStepOptions{}),
	} {
		if err := mustFail(t, call); !strings.Contains(err.Message, says) {
			t.Errorf("the message lacks %q: %s", says, err.Message)
		}
	}
	NoGrad(func() {
		previous, _ := DiffusionReverseStep(leaf, leaf, rows, ReverseStepOptions{})
		xT, _ := DiffusionQSample(leaf, two, PhiloxKey{})
		if previous.RequiresGrad() || xT.RequiresGrad() {
			t.Error("a step's result requires a gradient")
		}
	})
}
