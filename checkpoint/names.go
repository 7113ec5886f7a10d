package checkpoint

// The names in a run folder.
const (
	ConfigFile  = "config.json" // the configuration of the run
	SnapshotDir = "ema"         // the folder of snapshots of power-function EMAs
	Dir         = "checkpoints" // the folder of the checkpoints
)
