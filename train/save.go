package train

import (
	"errors"
	"fmt"
	"runtime"
	"strconv"

	"github.com/wangkuiyi/gotorch"

	"iddpm/checkpoint"
)

// checkpointPath returns the path of the current step's checkpoint.
func (t *Trainer) checkpointPath() string { return checkpoint.File(t.run.Dir, t.Step()) }

// save copies the state to host memory and writes it to the run folder in the background:
// only the next checkpoint waits for the disk, steps do not. A failed write is logged and
// repeated at the next save interval; wait returns the error of the last one.
func (t *Trainer) save(last bool) error {
	path := t.checkpointPath()
	if t.saver.holds(path) || !t.run.Group.IsLeader() {
		return nil
	}
	dict, err := t.state().Pack()
	if err != nil {
		return err
	}
	t.saver.start(path, dict, last)
	return nil
}

// state returns what a checkpoint is made from.
func (t *Trainer) state() checkpoint.State {
	return checkpoint.State{Config: t.config, Engine: t.engine, Data: t.data, Position: t.position, Environment: t.environment()}
}

// saveNow saves, and waits until the checkpoint is on the disk.
func (t *Trainer) saveNow() error {
	err := t.onTensorThread(func() error { return t.save(true) })
	return errors.Join(err, t.saver.wait())
}

// saveLast saves, and waits until the checkpoint is on the disk. If the last step was
// non-finite and there is an older checkpoint, it keeps that one: the newer state may be
// what causes the non-finite numbers.
func (t *Trainer) saveLast() error {
	if t.healthy() || t.saver.safe == "" {
		if err := t.save(true); err != nil {
			return err
		}
	}
	return t.saver.wait()
}

// healthy reports whether the last step was finite. It waits for the device.
func (t *Trainer) healthy() bool {
	if r := t.meter.last(); r != nil {
		return !r.Values().NonFinite
	}
	return t.engine.Health().SkippedInARow == 0
}

// environment returns what the results depend on, bit for bit, in addition to the
// configuration.
func (t *Trainer) environment() map[string]string {
	e := map[string]string{
		"libtorch":       gotorch.Version,
		"cpu_capability": gotorch.CPUCapability(),
		"go":             runtime.Version(),
		"device":         deviceKind(t.run.Device),
		"processes":      strconv.Itoa(t.run.Group.Size()),
	}
	if decoder := jpegDecoder(t.data); decoder != "" {
		e["jpeg_decoder"] = decoder
	}
	if len(t.threads.history) > 0 {
		e[adaptedThreads] = t.threads.history.String()
	}
	return e
}

// deviceKind names a device by what the results depend on: the model of GPU, not its index.
func deviceKind(d gotorch.Device) string {
	if d.Type != gotorch.CUDA {
		return d.String()
	}
	p := gotorch.GetCUDAProperties(d)
	return fmt.Sprintf("%s (compute capability %d.%d)", p.Name, p.Major, p.Minor)
}
