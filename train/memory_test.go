package train

import (
	"testing"

	"iddpm/internal/madeup"
	"iddpm/runconfig"
)

// The estimate grows with everything that needs memory.
func TestEstimateMemory(t *testing.T) {
	network, err := madeup.Run().Model.Plan()
	if err != nil {
		t.Fatal(err)
	}
	bytes := func(precision string, change func(*runconfig.Config), batch, microbatch int) int64 {
		c := madeup.Run()
		c.Train.Precision = precision
		change(&c)
		return EstimateMemory(network, c, batch, microbatch).Bytes()
	}
	same := func(*runconfig.Config) {}
	whole := bytes("fp32", same, 64, 64)
	for name, less := range map[string]int64{
		"bfloat16":               bytes("bf16", same, 64, 64),
		"microbatches":           bytes("fp32", same, 64, 16),
		"gradient checkpointing": bytes("fp32", func(c *runconfig.Config) { c.Model.UseCheckpoint = true }, 64, 64),
		"no EMA":                 bytes("fp32", func(c *runconfig.Config) { c.Train.EMARates = nil }, 64, 64),
	} {
		if less >= whole {
			t.Errorf("%s: %d bytes, without %d", name, less, whole)
		}
	}
	if a, b := bytes("auto", same, 64, 64), bytes("bf16", same, 64, 64); a != b {
		t.Errorf("auto needs %d bytes, bf16 %d", a, b)
	}
}
