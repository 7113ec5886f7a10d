package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"iddpm/checkpoint"
	"iddpm/internal/cli"
	"iddpm/internal/terminal"
	"iddpm/runconfig"
)

// infoResult is what info prints.
type infoResult struct {
	Checkpoint string            `json:"checkpoint,omitempty"`
	Preset     string            `json:"preset,omitempty"`
	Bare       bool              `json:"bare,omitempty"` // the file holds only weights
	Step       int               `json:"step,omitempty"`
	EMARates   []string          `json:"ema_rates,omitempty"`       // EMA weights in the checkpoint
	Weights    string            `json:"default_weights,omitempty"` // the default of sample
	Data       string            `json:"data,omitempty"`            // that the checkpoint was trained on
	Made       map[string]string `json:"environment,omitempty"`
	Config     runconfig.Config  `json:"config"`
	Parameters int64             `json:"parameters"` // of a file of weights: the values in it
	// Of bare weights: the network that is identified by their parameters, the names of the published files with
	// this list of parameters, and settings of Config that nothing tells.
	Network   string   `json:"network,omitempty"`
	Published []string `json:"published,omitempty"`
	Assumed   []string `json:"assumed,omitempty"`
	// Unfit says why the network of bare weights is not identified; the costs are then omitted.
	Unfit string `json:"unfit,omitempty"`

	FLOPs int64 `json:"flops"` // of one evaluation on one image, two per multiplication and addition
	// GradientFLOPs are those of a classifier's gradient by one image, forward and backward.
	GradientFLOPs int64          `json:"gradient_flops,omitempty"`
	Sampling      *samplingCost  `json:"sampling,omitempty"`
	Memory        memoryEstimate `json:"memory"`
	// The effect of --use-checkpoint on training.
	Checkpointing checkpointingCost `json:"checkpointing"`

	weights *checkpoint.Checkpoint // a file of only weights; nil: none
	given   string                 // the source of the network's settings, as text
	reason  string                 // why Weights are the default, if unexpected
}

// checkpointingCost is the memory that gradient checkpointing saves, and its FLOPs.
type checkpointingCost struct {
	FLOPs int64 `json:"flops"`               // additional, to train on one image
	Whole int64 `json:"picture_bytes"`       // activations of one image without it
	Saved int64 `json:"picture_bytes_saved"` // activations that are not stored with it
}

// memoryEstimate is the memory of training, in bytes.
type memoryEstimate struct {
	Precision  string `json:"precision"`        // compute precision of the estimate
	State      int64  `json:"state_bytes"`      // master and working weights, optimizer state, EMA weights
	PerImage   int64  `json:"picture_bytes"`    // per additional image of a microbatch
	Training   int64  `json:"training_bytes"`   // peak of tensors on a GPU, with a microbatch of images
	Checkpoint int64  `json:"checkpoint_bytes"` // of a file
}

func (r *infoResult) text(w io.Writer) error {
	t := terminal.Table{}
	r.origin(&t)
	t.Line("parameters", "%.2f M", float64(r.Parameters)/1e6)
	options := cli.ConfigOptions(&r.Config)
	if r.Config.Classifier != nil {
		options = append(cli.ClassifierOptions(r.Config.Classifier), options...)
	}
	if r.Unfit == "" {
		r.costs(&t)
	}
	category := ""
	for _, o := range options {
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
	gradient := ""
	if r.GradientFLOPs > 0 {
		gradient = fmt.Sprintf(", %.2f for a gradient in guidance", giga(r.GradientFLOPs))
	}
	t.Line("work", "%.2f GFLOP per image and forward pass, about %.2f to train on one%s", giga(r.FLOPs), giga(training), gradient)
	if r.Sampling != nil {
		r.Sampling.write(t)
	}
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
		if r.Network != "" {
			t.Line("network", "%s", r.Network)
		}
		if len(r.Published) > 0 {
			t.Line("published as", "%s", strings.Join(r.Published, ", "))
		}
		if len(r.Assumed) > 0 {
			t.Line("assumed", "%s", strings.Join(r.Assumed, ", "))
		}
		if r.Unfit != "" {
			t.Line("unknown", "%s", r.Unfit)
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

// samplingCost is the cost of sampling an image, with the guidance that flags ask for.
type samplingCost struct {
	Timesteps   int   `json:"timesteps"`
	Guided      int   `json:"guided_timesteps"`     // with --guidance, those of its interval
	Evaluations int   `json:"evaluations"`          // of the network: two in a step with classifier-free guidance
	Guide       int   `json:"guide_evaluations"`    // of the network of --guide
	Gradients   int   `json:"classifier_gradients"` // of the classifier of --classifier
	FLOPs       int64 `json:"flops"`                // of all of them

	Memory samplingMemory `json:"memory"`
}

// samplingMemory is the memory of sampling with the default batch size, in bytes.
type samplingMemory struct {
	Precision string `json:"precision"`  // compute precision of the estimate
	Batch     int    `json:"batch_size"` // samples at once
	Weights   int64  `json:"weight_bytes"`
	PerImage  int64  `json:"picture_bytes"`  // per additional sample of a batch
	Bytes     int64  `json:"sampling_bytes"` // peak of tensors on a GPU
}

// write adds the cost to a table.
func (c *samplingCost) write(t *terminal.Table) {
	t.Line("sampling", "%.2f GFLOP per image: %d timesteps, %d evaluations of the network", giga(c.FLOPs), c.Timesteps, c.Evaluations)
	if c.Guided > 0 {
		t.Line("  guided", "%d of the timesteps, %d evaluations of the guide", c.Guided, c.Guide+c.Evaluations-c.Timesteps)
	}
	if c.Gradients > 0 {
		t.Line("  classifier", "%d gradients", c.Gradients)
	}
	m := c.Memory
	t.Line("sampling memory", "about %s of a GPU in %s for %d samples at once: %s of weights, and %s per sample",
		terminal.FormatBytes(m.Bytes), m.Precision, m.Batch, terminal.FormatBytes(m.Weights), terminal.FormatBytes(m.PerImage))
}
