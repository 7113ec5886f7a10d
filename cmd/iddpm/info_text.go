package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"iddpm/internal/cli"
	"iddpm/internal/terminal"
)

func (r *infoResult) text(w io.Writer) error {
	t := terminal.Table{}
	r.origin(&t)
	t.Line("parameters", "%.2f M", float64(r.Parameters)/1e6)
	if r.Unfit == "" {
		r.costs(&t)
	}
	category := ""
	for _, o := range cli.ConfigOptions(&r.Config) {
		if o.Category != category {
			category = o.Category
			fmt.Fprintf(&t, "\n%s\n", category)
		}
		value := cli.Format(o.Value)
		if value == "" || value == "0" && o.Standard != "" {
			value = o.Standard
		}
		t.Line("  "+o.Name, "%s", value)
	}
	_, err := io.WriteString(w, t.String())
	return err
}

// costs writes FLOPs and memory.
func (r *infoResult) costs(t *terminal.Table) {
	training, c := 3*r.FLOPs, r.Checkpointing
	if r.Config.Model.UseCheckpoint {
		training += c.FLOPs
	}
	t.Line("work", "%.2f GFLOP per image and forward pass, about %.2f to train on one", giga(r.FLOPs), giga(training))
	t.Line("training memory", "about %s of a GPU in %s: %s of state, gradients, and %s per image of a microbatch",
		terminal.FormatBytes(r.Memory.Training), r.Memory.Precision, terminal.FormatBytes(r.Memory.State), terminal.FormatBytes(r.Memory.PerImage))
	t.Line("  extra", "workspaces of cuDNN and cuBLAS, the CUDA context, and 5 to 20 %% of fragmentation")
	t.Line("gradient checkpointing", "%s: saves %s of the %s per image, for %.2f more GFLOP to train on one (%+.0f %%)",
		map[bool]string{true: "on", false: "off"}[r.Config.Model.UseCheckpoint], terminal.FormatBytes(c.Saved), terminal.FormatBytes(c.Whole), giga(c.FLOPs), 100*float64(c.FLOPs)/float64(3*r.FLOPs))
	t.Line("checkpoint file", "about %s", terminal.FormatBytes(r.Memory.Checkpoint))
}

// origin writes where the settings come from.
func (r *infoResult) origin(t *terminal.Table) {
	if r.Preset != "" {
		t.Line("preset", "%s", r.Preset)
		return
	}
	t.Line("checkpoint", "%s", r.Checkpoint)
	if r.Bare {
		t.Line("settings", "none in the file, which holds only weights; below: %s", r.given)
		if r.reason != "" {
			t.Line("weights", "%s", r.reason)
		}
		if r.Unfit != "" {
			t.Line("network", "does not match the settings below: %s", r.Unfit)
		}
		return
	}
	t.Line("step", "%d", r.Step)
	t.Line("EMA weights", "%s", strings.Join(r.EMARates, ", "))
	t.Line("default weights", "%s", withReason(r.Weights, r.reason))
	t.Line("trained on", "%s", r.Data)
	for _, key := range slices.Sorted(maps.Keys(r.Made)) {
		t.Line("  "+key, "%s", r.Made[key])
	}
}

func giga(n int64) float64 { return float64(n) / 1e9 }
