package train

import (
	"go.uber.org/zap"

	"iddpm/data"
)

// LogData logs which images a set leaves out, and the rule that assigns its classes.
func LogData(log *zap.Logger, set *data.Dataset) {
	for _, left := range set.LeftOut() {
		log.Warn("left out files that are not images of the data set", zap.Int("images", left.Images), zap.String("reason", left.Reason), zap.String("first", left.First))
	}
	names := set.ClassNames()
	if names == nil {
		return
	}
	const shown = 5
	log.Info("classes", zap.Int("count", len(names)), zap.Strings("first", names[:min(len(names), shown)]), zap.String("rule", set.ClassRule()))
	for _, warning := range set.ClassWarnings() {
		log.Warn("check the classes", zap.String("reason", warning), zap.String("hint", data.LabelsHint))
	}
}
