package train

import (
	"fmt"
	"os"
	"path/filepath"

	"iddpm/checkpoint"
	"iddpm/data"
	"iddpm/distributed"
	"iddpm/runconfig"
)

// Data-parallel training: each rank works on its part of the batch, and rank 0 owns the run
// folder. All other state is equal on all ranks, on equal machines to the bit, so that all
// ranks make the same decisions without communication.

// assemble opens the data and the run folder and builds the engine, with the state of a
// checkpoint if there is one. Each stage ends in all processes before the next begins.
func (t *Trainer) assemble(from *checkpoint.Checkpoint) error {
	for _, stage := range []func() error{
		t.broadcastConfig,
		t.openData,
		t.sameData,
		func() error { return t.onTensorThread(func() error { return t.build(from, 0) }) },
		func() error { return t.onTensorThread(t.broadcastState) },
		t.openRunFolder,
		t.openBatches,
	} {
		if err := t.run.Group.SyncError(stage()); err != nil {
			return err
		}
	}
	return nil
}

// sharedConfig is what rank 0 sends to the other ranks.
type sharedConfig struct {
	Config runconfig.Config
	Dir    string
	Origin origin
	Known  []string // see Trainer.known
}

// broadcastConfig sends rank 0's configuration and run folder to all ranks.
func (t *Trainer) broadcastConfig() error {
	p, err := distributed.Broadcast(t.run.Group, sharedConfig{t.config, t.run.Dir, t.origin, t.known})
	if err == nil {
		t.config, t.run.Dir, t.origin, t.known = p.Config, p.Dir, p.Origin, p.Known
	}
	return err
}

// openData opens the images of the configuration, unless the user has provided others.
func (t *Trainer) openData() error {
	if t.data = t.run.Data; t.data == nil {
		o := t.config.DataOptions()
		o.HoldOut = t.config.Eval.HoldOut
		o.Sharers = t.run.Group.LocalSize()
		o.KnownClasses = t.known
		set, err := data.Open(t.config.Data.Dir, o)
		if err != nil {
			return t.asMoved(err, "data-dir")
		}
		t.data = dataset{set}
	}
	if found, want := len(t.data.ClassNames()), t.config.Model.NumClasses; t.config.Model.ClassCond && found > want {
		return &ClassCountError{t.data.Name(), found, want}
	}
	if d, ok := t.data.(dataset); ok {
		LogData(t.run.Log, d.Dataset)
	}
	return t.openHeldOut()
}

// sameData returns an error if the ranks do not have the same images, for example on
// different machines.
func (t *Trainer) sameData() error {
	if t.run.Group == nil {
		return nil // computing the fingerprint of a large set takes time
	}
	return t.run.Group.CheckSame("set of images", t.data.Fingerprint())
}

// openRunFolder creates the run folder, its configuration file and its metrics files, on
// rank 0.
func (t *Trainer) openRunFolder() error {
	if !t.run.Group.IsLeader() {
		return nil
	}
	for _, sub := range []string{checkpoint.Dir, samplesDir} {
		if err := os.MkdirAll(filepath.Join(t.run.Dir, sub), 0o777); err != nil {
			return fmt.Errorf("cannot make the run folder: %w", err)
		}
	}
	if err := t.lockFolder(); err != nil {
		return err
	}
	if t.origin != resumedRun { // another process may have started a run here since New checked
		if err := refuseRun(t.run.Dir); err != nil {
			return err
		}
	}
	removeLeftovers(t.run.Dir)
	o := t.config.Train // a copy: a smaller microbatch may change the other while a snapshot is written
	t.saver.keep, t.saver.keepEvery = o.Keep, o.KeepEvery
	t.snapshots.saved = func(path string) { t.removeReplacedSnapshots(o, path) }
	if t.origin == importedRun { // a folder with nothing but a configuration would start at step 0
		if err := t.saveNow(); err != nil {
			return err
		}
	}
	if err := writeConfig(t.run.Dir, t.config); err != nil {
		return err
	}
	return t.openMetrics()
}

// openBatches starts the batches at the current position.
func (t *Trainer) openBatches() (err error) {
	t.batches, err = t.data.Batches(data.LoaderOptions{
		BatchSize:  t.engine.Options().LocalBatch(),
		Rank:       t.run.Group.Rank(),
		WorldSize:  t.run.Group.Size(),
		Seed:       t.engine.Seed(),
		Position:   t.position,
		Flip:       t.config.Data.Flip,
		RandomCrop: t.config.Data.RandomCrop,
	})
	return err
}
