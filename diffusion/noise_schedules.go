package diffusion

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/wangkuiyi/gotorch"
)

// The named noise schedules. ScheduleNames shows how they are written.
const (
	Linear        = "linear"         // Ho et al. 2020, scaled to any number of steps; with START,END diffusers' "linear", unscaled
	Cosine        = "cosine"         // equation 17
	CosineShifted = "cosine-shifted" // cosine with its log-SNR shifted for images of SIZE pixels: Hoogeboom et al. 2023 (arXiv 2301.11093), section 2.2
	Sigmoid       = "sigmoid"        // Jabri et al. 2022 (arXiv 2212.11972), with start -3, end 3 and temperature 1
	ScaledLinear  = "scaled-linear"  // diffusers' "scaled_linear", linear in sqrt(beta) from START to END; Stable Diffusion's by default
)

// ScheduleNames lists the noise schedules, for messages.
const ScheduleNames = "linear, cosine, cosine-shifted:SIZE, sigmoid, scaled-linear[:START,END] or linear:START,END"

// maxSteps bounds T, so that a typo in a flag does not exhaust memory.
const maxSteps = 1_000_000

// maxBeta prevents a singularity at t = T-1 of a schedule whose alphaBar ends at 0.
const maxBeta = 0.999

// noiseSchedule is a noise schedule by name.
type noiseSchedule struct {
	minSteps int
	minimum  string // the same in words
	// betas returns beta_t, float64 [T].
	betas func(steps int, d gotorch.Device) gotorch.Tensor
}

// parseNoiseSchedule returns the schedule of a name, such as "cosine-shifted:256".
func parseNoiseSchedule(name string) (s noiseSchedule, err error) {
	kind, arguments, hasArguments := strings.Cut(name, ":")
	s = noiseSchedule{minSteps: 2, minimum: "at least 2"}
	switch {
	case name == Linear:
		s = noiseSchedule{21, "more than 20, since its last beta, 20/diffusion_steps, must be below 1", linearBetas}
	case name == Cosine:
		s.betas = cosineBetas
	case name == Sigmoid:
		s.betas = sigmoidBetas
	case kind == CosineShifted:
		s.betas, err = parseShift(arguments)
	case kind == ScaledLinear && !hasArguments:
		s.betas = interpolatedBetas(0.00085, 0.012, true)
	case kind == ScaledLinear, kind == Linear:
		s.betas, err = parseEnds(arguments, kind == ScaledLinear)
	default:
		return s, fmt.Errorf("unknown noise_schedule %q: use %s", name, ScheduleNames)
	}
	if err != nil {
		return s, fmt.Errorf("noise_schedule %q: %w", name, err)
	}
	return s, nil
}

// parseShift parses the SIZE of cosine-shifted.
func parseShift(size string) (func(int, gotorch.Device) gotorch.Tensor, error) {
	n, err := strconv.Atoi(size)
	if err != nil || n < 1 || n > 1<<16 {
		return nil, fmt.Errorf("%q is not a size of images in pixels: write %s:256", size, CosineShifted)
	}
	return func(steps int, d gotorch.Device) gotorch.Tensor { return shiftedCosineBetas(n, steps, d) }, nil
}

// minEnd keeps the first beta, like maxBeta the last one, away from 0 and 1 in float32.
const minEnd = 1e-10

// parseEnds parses the START,END of a schedule of diffusers.
func parseEnds(ends string, roots bool) (func(int, gotorch.Device) gotorch.Tensor, error) {
	first, last, _ := strings.Cut(ends, ",")
	start, err1 := strconv.ParseFloat(first, 64)
	end, err2 := strconv.ParseFloat(last, 64)
	if err1 != nil || err2 != nil || !(minEnd <= start && start < end && end <= maxBeta) {
		return nil, fmt.Errorf("%q are not the first and the last beta: write two numbers from %g to %g, rising, such as 0.00085,0.012", ends, minEnd, maxBeta)
	}
	return interpolatedBetas(start, end, roots), nil
}

// CutNoiseSchedule splits text of the form SCHEDULE:REST, where SCHEDULE may have arguments,
// as in "cosine-shifted:256:1000". ok is false if it does not begin with the name of a
// schedule. rest is "" if there is none.
func CutNoiseSchedule(text string) (name, rest string, ok bool) {
	kind, rest, _ := strings.Cut(text, ":")
	switch kind {
	case Cosine, Sigmoid:
		return kind, rest, true
	case Linear, ScaledLinear, CosineShifted:
		arguments, after, _ := strings.Cut(rest, ":")
		if kind == CosineShifted || strings.Contains(arguments, ",") {
			return kind + ":" + arguments, after, true
		}
		return kind, rest, true
	}
	return "", "", false
}

// validateNamedSchedule reports whether a schedule exists for T steps. It needs no
// libtorch.
func validateNamedSchedule(name string, steps int) error {
	s, err := parseNoiseSchedule(name)
	switch {
	case steps > maxSteps:
		return fmt.Errorf("diffusion_steps is %d: use at most %d", steps, maxSteps)
	case err != nil:
		return err
	case steps < s.minSteps:
		return fmt.Errorf("diffusion_steps is %d: the %s schedule needs %s", steps, name, s.minimum)
	}
	return nil
}

// linearBetas are evenly spaced from 0.1/T to 20/T: from 1e-4 to 0.02 for T = 1000.
func linearBetas(steps int, d gotorch.Device) gotorch.Tensor {
	return gotorch.LinspaceOn(d, gotorch.Double, 0.1/float64(steps), 20/float64(steps), int64(steps))
}

// cosineBetas are equation 17: beta_t = 1 - f(t+1)/f(t) with f(t) = cos(angle_t)^2 and
// angle_t = (t/T + s)/(1 + s) pi/2. By cos(a)^2 - cos(b)^2 = sin(b - a) sin(a + b) no two
// nearly equal numbers are subtracted.
func cosineBetas(steps int, d gotorch.Device) gotorch.Tensor {
	const s = 0.008
	step := math.Pi / 2 / (1 + s) / float64(steps)
	a := gotorch.ArangeOn(d, gotorch.Double, 0, float64(steps), 1).MulScalar(step).AddScalar(s / (1 + s) * math.Pi / 2)
	cosA := a.Cos()
	aPlusB := a.MulScalar(2).AddScalar(step)
	return aPlusB.Sin().MulScalar(math.Sin(step)).Div(cosA.Mul(cosA)).Clamp(0, maxBeta)
}

// shiftedCosineBetas shift the log-SNR of every timestep of the cosine schedule by
// 2 log(64/size). With r = (64/size)^2, alphaBar' = r alphaBar / (1 + (r-1) alphaBar), so
// that 1 - alphaBar'_t / alphaBar'_{t-1} = beta_t / (1 + (r-1) alphaBar_t).
func shiftedCosineBetas(size, steps int, d gotorch.Device) gotorch.Tensor {
	r := math.Pow(64/float64(size), 2)
	betas := cosineBetas(steps, d)
	alphaBar := oneMinus(betas).Cumprod(0)
	return betas.Div(alphaBar.MulScalar(r - 1).AddScalar(1))
}

// sigmoidBetas are beta_t = 1 - f(t+1)/f(t) with f(t) = vEnd - sigmoid(x_t) and x_t from -3
// to 3. By sigmoid(b) - sigmoid(a) = sigmoid(b) sigmoid(-a) (1 - exp(a - b)) no two nearly
// equal sigmoids are subtracted. As in lucidrains' denoising-diffusion-pytorch, vEnd is
// sigmoid(3) in float32.
func sigmoidBetas(steps int, d gotorch.Device) gotorch.Tensor {
	const start, end, vEnd = -3.0, 3.0, float64(float32(0.9525741268224334))
	step := (end - start) / float64(steps)
	a := gotorch.ArangeOn(d, gotorch.Double, 0, float64(steps), 1).MulScalar(step).AddScalar(start)
	b := a.AddScalar(step)
	difference := b.Sigmoid().Mul(a.Neg().Sigmoid()).MulScalar(-math.Expm1(-step))
	return difference.Div(a.Sigmoid().Neg().AddScalar(vEnd)).Clamp(0, maxBeta)
}

// interpolatedBetas are evenly spaced from start to end or, with roots, the squares of
// numbers from sqrt(start) to sqrt(end). diffusers computes them in float32: networks were
// trained with these.
func interpolatedBetas(start, end float64, roots bool) func(steps int, d gotorch.Device) gotorch.Tensor {
	return func(steps int, d gotorch.Device) gotorch.Tensor {
		if !roots {
			return gotorch.LinspaceOn(gotorch.Device{}, gotorch.Float, start, end, int64(steps)).To(d, gotorch.Double)
		}
		root := gotorch.LinspaceOn(gotorch.Device{}, gotorch.Float, math.Sqrt(start), math.Sqrt(end), int64(steps))
		return root.Mul(root).To(d, gotorch.Double)
	}
}

// rescaleZeroTerminalSNR shifts and scales sqrt(alphaBar) so that it keeps its first value
// and ends at 0, which makes the last beta 1: Lin et al. 2023 (arXiv 2305.08891), algorithm 1.
func rescaleZeroTerminalSNR(betas gotorch.Tensor) gotorch.Tensor {
	last := betas.Numel() - 1
	root := oneMinus(betas).Cumprod(0).Sqrt()
	rootFirst, rootLast := root.Narrow(0, 0, 1), root.Narrow(0, last, 1)
	root = root.Sub(rootLast, 1).Mul(rootFirst.Div(rootFirst.Sub(rootLast, 1)))
	alphaBar := root.Mul(root)
	one := oneMinus(alphaBar.Narrow(0, last, 1))
	alphaBarPrev := gotorch.Cat([]gotorch.Tensor{one, alphaBar.Narrow(0, 0, last)}, 0)
	return oneMinus(alphaBar.Div(alphaBarPrev))
}
