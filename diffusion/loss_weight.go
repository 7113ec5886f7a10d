package diffusion

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/wangkuiyi/gotorch"
)

// LossWeight weights L_simple by timestep. The zero value leaves the mean squared error of
// the prediction as it is. L_vlb's term has no such weight.
type LossWeight struct {
	Kind  LossWeightKind
	Gamma float64 // MinSNR's upper limit of SNR, or P2's exponent; else unused
}

// LossWeightKind is a weight of the squared error of x_0, as a function of the
// signal-to-noise ratio SNR = alphaBar / (1 - alphaBar). So a weighted loss is the same
// function of the predicted x_0 whatever the network predicts: see [coefficients.lossWeights].
type LossWeightKind int

// The weights.
const (
	Unweighted LossWeightKind = iota // 1 per squared error of the network's own prediction
	SNR                              // SNR, the unweighted loss of epsilon: Salimans & Ho 2022 (arXiv 2202.00512), section 4
	MinSNR                           // min(SNR, gamma): Hang et al. 2023 (arXiv 2303.09556), section 3.4
	P2                               // SNR / (1 + SNR)^gamma: Choi et al. 2022 (arXiv 2204.00227), equation 8 with k = 1
)

// LossWeightNames lists the weights, for messages.
const LossWeightNames = "none, min-snr:5, p2:1 or snr"

// ParseLossWeight returns the weight of a name: "" or "none", "snr", "min-snr" with gamma 5 or
// "min-snr:GAMMA", and "p2" with gamma 1 or "p2:GAMMA".
func ParseLossWeight(name string) (LossWeight, error) {
	kind, gamma, hasGamma := strings.Cut(name, ":")
	var w LossWeight
	switch kind {
	case "min-snr":
		w = LossWeight{MinSNR, 5}
	case "p2":
		w = LossWeight{P2, 1}
	default:
		switch name {
		case "", "none":
			return LossWeight{}, nil
		case "snr":
			return LossWeight{Kind: SNR}, nil
		}
		return LossWeight{}, fmt.Errorf("unknown loss_weight %q: use %s", name, LossWeightNames)
	}
	if hasGamma {
		var err error
		if w.Gamma, err = strconv.ParseFloat(gamma, 64); err != nil || !(w.Gamma > 0) || math.IsInf(w.Gamma, 0) {
			return LossWeight{}, fmt.Errorf("loss_weight %q: %q is not a number above 0: write %s:%g", name, gamma, kind, max(1, w.Gamma))
		}
	}
	return w, nil
}

// ofXStart returns the weight of the squared error of x_0, of SNR, float64 [T].
func (w LossWeight) ofXStart(snr gotorch.Tensor) gotorch.Tensor {
	switch w.Kind {
	case MinSNR:
		return snr.Clamp(0, w.Gamma)
	case P2:
		return snr.Mul(snr.AddScalar(1).PowScalar(-w.Gamma))
	}
	return snr
}

// lossWeights returns the factors of the squared error of the network's prediction, float64
// [T]. An error of x_0 is m.xStart.prediction times that of the prediction: so min(SNR, gamma)
// becomes min(SNR, gamma)/SNR for epsilon, and min(SNR, gamma)/(SNR+1) for v.
func (c coefficients) lossWeights(w LossWeight, m meanDefinition) gotorch.Tensor {
	if w.Kind == Unweighted {
		return c.of(one)
	}
	snr := c.of(sqrtSNR).Mul(c.of(sqrtSNR))
	xStartPerPrediction := c.of(m.xStart.prediction)
	return w.ofXStart(snr).Mul(xStartPerPrediction.Mul(xStartPerPrediction))
}
