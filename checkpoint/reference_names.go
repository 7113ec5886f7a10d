package checkpoint

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
)

// The reference saves a run as several files in one folder: model010000.pt, the weights;
// ema_0.9999_010000.pt, the EMA weights of each decay rate; and opt010000.pt, AdamW's state.
// They do not contain the network's configuration.

var (
	referenceName          = regexp.MustCompile(`^model(\d+)\.pt$`)
	referenceEMAName       = regexp.MustCompile(`^ema_([0-9.]+)_(\d+)\.pt$`)
	referenceOptimizerName = regexp.MustCompile(`^opt(\d+)\.pt$`)
)

func referenceEMA(rate string, step int) string { return fmt.Sprintf("ema_%s_%06d.pt", rate, step) }
func referenceOptimizer(step int) string        { return fmt.Sprintf("opt%06d.pt", step) }

// ReferenceStep returns the step in the name of a model file of the reference, or -1 for
// other names.
func ReferenceStep(name string) int { return stepIn(referenceName, name) }

// referenceModel returns the reference's model file of the same step as an EMA file:
// model000010.pt for ema_0.9999_000010.pt. ok is false for other names.
func referenceModel(path string) (model string, ok bool) {
	m := referenceEMAName.FindStringSubmatch(filepath.Base(path))
	if m == nil {
		return "", false
	}
	return filepath.Join(filepath.Dir(path), "model"+m[2]+".pt"), true
}

// emaKey formats a decay rate as Python prints it, as in checkpoints and in the
// reference's file names: 0.9999, not 9.999e-01.
func emaKey(rate float64) string { return strconv.FormatFloat(rate, 'f', -1, 64) }
