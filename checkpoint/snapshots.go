package checkpoint

import (
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"

	"iddpm/runconfig"
)

var snapshotName = regexp.MustCompile(`^ema-(\d+)\.pt$`)

// SnapshotFile returns the path of a step's snapshot in a run folder.
func SnapshotFile(dir string, step int) string {
	return filepath.Join(dir, SnapshotDir, fmt.Sprintf("ema-%06d.pt", step))
}

// SnapshotStep returns the step of a snapshot from its slash-separated name relative to the run
// folder: 200 for ema/ema-000200.pt. ok is false for other files.
func SnapshotStep(name string) (step int, ok bool) {
	if path.Dir(name) != SnapshotDir {
		return 0, false
	}
	step = stepIn(snapshotName, path.Base(name))
	return step, step >= 0
}

// Snapshots returns the steps of the snapshots in a run folder, ascending.
func Snapshots(dir string) (steps []int) {
	entries, _ := os.ReadDir(filepath.Join(dir, SnapshotDir)) // a missing folder has none
	for _, e := range entries {
		if step, ok := SnapshotStep(path.Join(SnapshotDir, e.Name())); ok {
			steps = append(steps, step)
		}
	}
	slices.Sort(steps)
	return steps
}

// mostSnapshots limits the snapshots of a run that keeps only its newest checkpoints. An EMA needs
// snapshots from all the steps that it averages.
const mostSnapshots = 20

// ReplacedSnapshots returns those of the steps, ascending, whose snapshots to delete once that of
// newest is on the disk. With Keep the newest Keep remain, those at multiples of KeepEvery, and
// between 10 and 20 that are evenly spaced over the run. Later steps belong to another branch of
// the run and are kept.
func ReplacedSnapshots(o runconfig.Options, steps []int, newest int) (old []int) {
	newestFirst := slices.Clone(steps)
	slices.Reverse(newestFirst)
	if old = beyond(newestFirst, func(step int) int { return step }, newest, o.Keep, o.KeepEvery); old == nil {
		return nil
	}
	stride := o.SnapshotInterval()
	for newest/stride > mostSnapshots {
		stride *= 2
	}
	return slices.DeleteFunc(old, func(step int) bool { return step%stride == 0 })
}

// replacedSnapshotFiles is [ReplacedSnapshots] of files' names, as for [SnapshotStep].
func replacedSnapshotFiles(o runconfig.Options, names []string, newest int) (old []string) {
	files := map[int]string{}
	for _, name := range names {
		if step, ok := SnapshotStep(name); ok {
			files[step] = name
		}
	}
	for _, step := range ReplacedSnapshots(o, slices.Sorted(maps.Keys(files)), newest) {
		old = append(old, files[step])
	}
	return old
}

// Replaced returns the files to delete from a remote copy of the run folder once the
// uploads of `sent`, the newest first, are complete: the checkpoints and the snapshots of
// EMAs that Keep and KeepEvery of o do not keep.
func Replaced(o runconfig.Options, there, sent []string) (old []string) {
	for _, name := range sent {
		if _, ok := Step(name); ok {
			old = ReplacedFiles(Among(there), name, o.Keep, o.KeepEvery)
			break
		}
	}
	for _, name := range sent {
		if step, ok := SnapshotStep(name); ok {
			return append(old, replacedSnapshotFiles(o, there, step)...)
		}
	}
	return old
}
