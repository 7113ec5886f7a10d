package cli

import (
	"strings"

	"iddpm/runconfig"
)

// Flags that several commands share. The help category of some depends on the command.

// PresetOption returns the flag --preset.
func PresetOption(name *string) Option {
	return Option{Name: "preset", Category: CategoryRun, Value: name,
		Usage: "start from the settings of preset `NAME`: " + PresetNames()}
}

// ConfigOption returns the flag --config, whose file [Line.AddSources] reads.
func ConfigOption() Option {
	return Option{Name: "config", Path: true, Category: CategoryRun, Value: new(string), Usage: "read settings from YAML `FILE`, whose keys are names of flags"}
}

// PresetNames lists the presets.
func PresetNames() string {
	var names []string
	for _, p := range runconfig.Presets() {
		names = append(names, p.Name)
	}
	return strings.Join(names, ", ")
}

// JSONOption returns the flag --json.
func JSONOption(enabled *bool) Option {
	return Option{Name: "json", Category: CategoryRun, Value: enabled, Usage: "print the result as one JSON object"}
}

// SplitOption returns the flag --split.
func SplitOption(split *string) Option {
	return Option{Name: "split", Category: CategoryData, Value: split, Usage: "for CIFAR and the like, use the images of `SPLIT`: train or test; for Parquet and tar files also validation"}
}

// EMADefault describes the default of [checkpoint.Checkpoint.Weights].
const EMADefault = "the highest rate, or none while that EMA is mostly initial weights"

// EMAOption returns the flag --ema.
func EMAOption(rate *string, category string) Option {
	return Option{Name: "ema", Category: category, Value: rate, Standard: EMADefault, Usage: "load the EMA weights of decay `RATE`, or none: the weights of the last step"}
}

// PrecisionOption returns the flag --precision.
func PrecisionOption(precision *string, category string) Option {
	return Option{Name: "precision", Category: category, Value: precision, Usage: "compute precision `TYPE`: fp32, tf32, bf16 or fp16 (mixed precision), or auto: bf16 where the hardware supports it, else fp16 on GPUs with tensor cores for it, else fp32"}
}

// ThreadsOption returns the flag --threads.
func ThreadsOption(threads *int, category string) Option {
	return Option{Name: "threads", Category: category, Value: threads, Usage: "CPU threads per process, `N`, fixed (0: one per core, or its share of them, that other programs leave free)"}
}
