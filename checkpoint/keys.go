package checkpoint

import (
	"fmt"
	"strconv"
	"strings"

	"iddpm/train/engine"
)

// formatVersion is the "format" of the checkpoints written here.
const formatVersion = 1

// RawWeights names the weights of the last step where a decay rate names an EMA.
const RawWeights = "none"

// powerPrefix begins the names of power-function EMAs, such as power-0.05.
const powerPrefix = "power-"

// powerKey names the power-function EMA of a length in a checkpoint.
func powerKey(length float64) string { return powerPrefix + emaKey(length) }

// emaKeys returns the names of an engine's EMAs in a checkpoint, in the order of its state.
func emaKeys(o engine.Options) (keys []string) {
	for _, rate := range o.EMARates {
		keys = append(keys, emaKey(rate))
	}
	for _, length := range o.PowerEMAs {
		keys = append(keys, powerKey(length))
	}
	return keys
}

// weightsName describes weights by their key, for logs.
func weightsName(key string) string {
	if key == RawWeights {
		return "of the last step"
	}
	if length, ok := strings.CutPrefix(key, powerPrefix); ok {
		return "power-function EMA of length " + length
	}
	return "EMA " + key
}

// snapshotKey is the key of the EMAs in a snapshot, and tells it from a checkpoint.
const snapshotKey = "power_ema"

// exportedKey is the key, in a .pt file, of [Checkpoint.Exported].
const exportedKey = "weights"

// checkWeightsKey returns an error unless key may be a [Weights.Rate].
func checkWeightsKey(key string) error {
	rate, err := strconv.ParseFloat(strings.TrimPrefix(key, powerPrefix), 64)
	if (err != nil || !(rate >= 0 && rate < 1)) && key != RawWeights {
		return fmt.Errorf("%q is neither a decay rate, %sLENGTH nor %s", key, powerPrefix, RawWeights)
	}
	return nil
}
