package train

import (
	"github.com/wangkuiyi/gotorch"
	"go.uber.org/zap"

	"iddpm/checkpoint"
)

// warnOfDifferences logs what makes a resumed run differ, in the last bits or entirely,
// from an uninterrupted one.
func (t *Trainer) warnOfDifferences(c *checkpoint.Checkpoint) {
	now := t.environment()
	for _, key := range []string{"libtorch", "cpu_capability", "device", "processes", "jpeg_decoder"} {
		if was, known := c.Environment[key]; known && was != now[key] {
			t.run.Log.Warn("the results may differ in their last bits from an uninterrupted run's",
				zap.String("reason", key), zap.String("was", was), zap.String("is", now[key]))
		}
	}
	if changes := c.Environment[adaptedThreads]; changes != "" {
		t.run.Log.Warn("the results may differ in their last bits from an uninterrupted run's",
			zap.String("reason", "the number of threads was adapted to the load of other programs"), zap.String("threads", changes))
		t.threads.history = parseThreadHistory(changes)
		t.threads.history.note(t.config.Train.Threads, c.Step)
	}
	was, is := c.Config.Train.Threads, t.config.Train.Threads
	if was > 0 && was != is && t.run.Device.Type == gotorch.CPU {
		t.run.Log.Warn("the results may differ in their last bits from an uninterrupted run's",
			zap.String("reason", "threads"), zap.Int("was", was), zap.Int("is", is), zap.Int("cores", t.run.Group.CPUs()))
	}
	if c.DataFingerprint != "" && c.DataFingerprint != t.data.Fingerprint() {
		t.run.Log.Warn("the images differ from those that the run was started with", zap.String("data", t.data.Name()))
	}
}
