package checkpoint

import (
	"github.com/wangkuiyi/gotorch/pt"

	"iddpm/train/engine"
)

// packHealth returns the entry of a checkpoint. Its keys keep the names of old versions.
func packHealth(h engine.Health) *pt.Dict {
	return dictOf("attempt", int64(h.Attempt), "skipped", int64(h.Skipped), "skipped_in_a_row", int64(h.SkippedInARow), "lg_loss_scale", h.Log2LossScale)
}

// readHealth reads what packHealth wrote. The first checkpoints did not have it.
func readHealth(root *fields) (engine.Health, error) {
	if _, ok := root.dict.Get("health"); !ok {
		return engine.InitialHealth(), nil
	}
	f := root.sub("health")
	h := engine.Health{
		Attempt: int(f.int("attempt")), Skipped: int(f.int("skipped")), SkippedInARow: int(f.int("skipped_in_a_row")),
		Log2LossScale: f.float("lg_loss_scale"),
	}
	return h, root.failed(f)
}
