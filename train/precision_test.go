package train

import (
	"math"
	"os"
	"strconv"
	"testing"

	"iddpm/runconfig"
)

// lossSteps returns how many steps TestBFloat16Loss trains for, and with what batch size:
// 5 steps of 2 images, since bfloat16 is slow on most CPUs. IDDPM_LOSS_STEPS sets another
// number of steps of the preset's batch size; 500 steps take minutes.
func lossSteps(presetBatchSize int) (steps, batchSize int) {
	n, err := strconv.Atoi(os.Getenv("IDDPM_LOSS_STEPS"))
	if err != nil {
		return 5, 2
	}
	return n, presetBatchSize
}

// TestBFloat16Loss trains on the built-in images in float32 and in bfloat16,
// from the same weights with the same noise. The losses of the last fifth of the
// steps agree within 1 %.
func TestBFloat16Loss(t *testing.T) {
	preset, err := runconfig.LookupPreset("emoji")
	if err != nil {
		t.Fatal(err)
	}
	steps, batchSize := lossSteps(preset.Config.Train.BatchSize)
	mean := map[string]float64{}
	for _, precision := range []string{"fp32", "bf16"} {
		c := preset.Config
		c.Train.Precision, c.Train.Steps, c.Train.Seed = precision, steps, 11
		c.Train.BatchSize, c.Diffusion.Predict = batchSize, "epsilon" // as in docs/performance.md
		c.Train.WarmupSteps = steps / 5
		losses := stepLosses(t, c)
		last := losses[len(losses)-len(losses)/5:]
		for _, loss := range last {
			mean[precision] += loss / float64(len(last))
		}
		t.Logf("%s: the loss was %.5f at first, and %.5f over the last %d of %d steps", precision, losses[0], mean[precision], len(last), steps)
	}
	off := mean["bf16"]/mean["fp32"] - 1
	t.Logf("the loss in bfloat16 is off by %.4f %%", 100*off)
	if !(math.Abs(off) <= 0.01) || off == 0 {
		t.Errorf("it is %g in float32 and %g in bfloat16", mean["fp32"], mean["bf16"])
	}
}

// stepLosses trains, and returns the mean loss of each step.
func stepLosses(t *testing.T, c runconfig.Config) (losses []float64) {
	t.Helper()
	trainer, err := New(c, Run{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer trainer.Close()
	err = trainer.onTensorThread(func() error {
		for !trainer.done() {
			batch, err := trainer.waitForBatch(t.Context())
			if err != nil {
				return err
			}
			r, err := trainer.step(batch)
			if err != nil {
				return err
			}
			losses = append(losses, r.Loss())
			r.Free()
			trainer.batches.Recycle(batch)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return losses
}
