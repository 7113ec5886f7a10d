package train

import (
	"math"

	"iddpm/runconfig"
	"iddpm/train/metrics"
)

// bestName is the file of the best checkpoint, beside those of steps. It is never the newest, and
// not one of those that Options.Keep counts.
const bestName = "best.pt"

// bestMetrics are the values of Options.KeepBest and the columns that they compare. A smaller
// value is better for all of them.
var bestMetrics = map[string]string{
	"loss": "loss", // the mean over a save interval
	"bpd":  EvalBPD,
	"fid":  EvalFID,
	"kid":  EvalKID,
}

// best follows the metric that decides which checkpoint is the best. It is a function of the rows
// of the log, so that a resumed run continues it from there.
type best struct {
	column   string // "": none is kept
	every    int    // Options.SaveInterval, over which the loss is averaged
	value    float64
	improved bool // the current step is the best, and not saved yet
	interval average
}

func newBest(o runconfig.Options) best {
	return best{column: bestMetrics[o.KeepBest], every: o.SaveInterval, value: math.Inf(1)}
}

// add adds a row of metrics.
func (b *best) add(row metrics.Row) {
	value, ok := row.Get(b.column)
	if !ok {
		return
	}
	if b.column == bestMetrics["loss"] {
		b.interval = average{b.interval.sum + value, b.interval.count + 1}
		if row.Step%b.every != 0 {
			return
		}
		value, b.interval = b.interval.mean(), average{}
	}
	if value < b.value { // false for NaN
		b.value, b.improved = value, true
	}
}
