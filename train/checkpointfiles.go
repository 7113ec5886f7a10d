package train

import (
	"cmp"
	"fmt"
	"iddpm/runconfig"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
)

var checkpointName = regexp.MustCompile(`^ckpt-(\d+)\.pt$`)

// checkpointFile returns the path of a step's checkpoint in a run folder.
func checkpointFile(dir string, step int) string {
	return filepath.Join(dir, checkpointDir, fmt.Sprintf("ckpt-%06d.pt", step))
}

// stepOf returns the step in a checkpoint's file name, or -1.
func stepOf(path string) int {
	m := checkpointName.FindStringSubmatch(filepath.Base(path))
	if m == nil {
		return -1
	}
	step, err := strconv.Atoi(m[1])
	if err != nil {
		return -1
	}
	return step
}

// CheckpointStep returns the step of a checkpoint from its slash-separated name relative to
// the run folder: 200 for checkpoints/ckpt-000200.pt. ok is false for other files.
func CheckpointStep(name string) (step int, ok bool) {
	if dir := path.Dir(name); dir != checkpointDir && dir != "." {
		return 0, false
	}
	step = stepOf(name)
	return step, step >= 0
}

// Checkpoints returns those files of a run folder that are checkpoints, the newest first.
// Names are as for [CheckpointStep].
func Checkpoints(names []string) (all []string) {
	for _, name := range names {
		if _, ok := CheckpointStep(name); ok {
			all = append(all, name)
		}
	}
	newestFirst(all)
	return all
}

// checkpointsIn returns the checkpoint files of a run folder, the newest first.
func checkpointsIn(dir string) []string {
	var files []string
	for _, d := range []string{filepath.Join(dir, checkpointDir), dir} {
		entries, _ := os.ReadDir(d)
		for _, e := range entries {
			if stepOf(e.Name()) >= 0 {
				files = append(files, filepath.Join(d, e.Name()))
			}
		}
	}
	newestFirst(files)
	return files
}

// newestFirst sorts checkpoint files.
func newestFirst(files []string) {
	slices.SortStableFunc(files, func(a, b string) int { return cmp.Compare(stepOf(b), stepOf(a)) })
}

// replaced returns the checkpoint files to delete once the newest is on the disk: all but
// the newest `keep` and those whose step is a multiple of keepEvery. Files of later steps
// belong to another branch of the run and are kept.
func replaced(files []string, newest string, keep, keepEvery int) (old []string) {
	return beyond(files, stepOf, stepOf(newest), keep, keepEvery)
}

// beyond is the rule of [replaced], for items of any kind, the newest first.
func beyond[T any](items []T, stepOf func(T) int, newest, keep, keepEvery int) (old []T) {
	if keep == 0 {
		return nil
	}
	kept := 0
	for _, item := range items {
		step := stepOf(item)
		if step > newest {
			continue
		}
		if kept++; kept > keep && !(keepEvery > 0 && step%keepEvery == 0) {
			old = append(old, item)
		}
	}
	return old
}

// Replaced returns the files to delete from a remote copy of the run folder once the
// uploads of `sent`, the newest first, are complete: the checkpoints and the snapshots of
// EMAs that Keep and KeepEvery of o do not keep.
func Replaced(o runconfig.Options, there, sent []string) (old []string) {
	for _, name := range sent {
		if _, ok := CheckpointStep(name); ok {
			old = replaced(Checkpoints(there), name, o.Keep, o.KeepEvery)
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
