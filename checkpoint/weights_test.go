package checkpoint

import (
	"strings"
	"testing"

	"github.com/wangkuiyi/gotorch/pt"
)

// An EMA has one name, however its rate is spelt. By default it is used from the step on
// at which no more than half of it are initial weights.
func TestCheckpointWeights(t *testing.T) {
	raw, slow, fast := new(pt.Dict), new(pt.Dict), new(pt.Dict)
	at := func(step int) Checkpoint {
		return Checkpoint{Path: "p", Step: step, Model: raw, EMA: map[string]*pt.Dict{"0.9999": slow, "0.90": fast}}
	}
	bare := func(path string) Checkpoint { return Checkpoint{Path: path, Bare: true, Model: raw} }
	warm := func(step int) Checkpoint {
		c := at(step)
		c.Config.Train.EMAWarmup = true
		return c
	}
	half := Checkpoint{Step: 1, Model: raw, EMA: map[string]*pt.Dict{"0.5": fast}}
	for _, test := range []struct {
		c      Checkpoint
		ema    string
		name   string
		dict   *pt.Dict
		reason string
	}{
		{at(6932), "", "EMA 0.9999", slow, ""},
		{at(6931), "", "of the last step", raw, "at step 6931, EMA 0.9999 is still 50 % initial weights, and falls to half at step 6932"},
		{at(300), "", "of the last step", raw, "97.04 % initial weights"},
		{at(0), "", "of the last step", raw, "100 % initial weights"},
		{warm(0), "", "of the last step", raw, "100 % initial weights, and falls to half at step 1"},
		{warm(1), "", "EMA 0.9999", slow, ""},
		{half, "", "EMA 0.5", fast, ""},
		{at(300), "0.9999", "EMA 0.9999", slow, ""},
		{at(300), "0.99990", "EMA 0.9999", slow, ""},
		{at(0), ".9", "EMA 0.90", fast, ""},
		{at(7000), "none", "of the last step", raw, ""},
		{Checkpoint{Model: raw}, "", "of the last step", raw, ""},
		{at(0), "0.5", "", nil, ""},
		{at(0), "fast", "", nil, ""},
		{at(0), "NaN", "", nil, ""},
		{bare("dir/ema_0.9999_000010.pt"), "", "of the last step", raw, "99.9 % initial weights, and falls to half at step 6932; model000010.pt holds the raw weights"},
		{bare("ema_0.9999_010000.pt"), "", "of the last step", raw, ""},
		{bare("ema_0.9999_000010.pt"), "none", "of the last step", raw, ""},
		{bare("model000010.pt"), "", "of the last step", raw, ""},
		{bare("ema_1..2_000010.pt"), "", "of the last step", raw, ""},
	} {
		w, err := test.c.Weights(test.ema)
		if w.Name != test.name || w.Dict != test.dict || (err == nil) != (test.dict != nil) {
			t.Errorf("step %d, --ema %q: %q, %v; want %q", test.c.Step, test.ema, w.Name, err, test.name)
		}
		if (w.Reason == "") != (test.reason == "") || !strings.Contains(w.Reason, test.reason) {
			t.Errorf("step %d, %s, --ema %q: %q, want %q", test.c.Step, test.c.Path, test.ema, w.Reason, test.reason)
		}
	}
}
