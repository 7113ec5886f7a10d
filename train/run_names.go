package train

// The names in a run folder.
const (
	ConfigFile    = "config.json" // the configuration of the run
	SnapshotDir   = "ema"         // the folder of snapshots of power-function EMAs
	checkpointDir = "checkpoints"
	samplesDir    = "samples"
)
