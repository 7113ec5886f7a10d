package checkpoint

import (
	"cmp"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
)

var checkpointName = regexp.MustCompile(`^ckpt-(\d+)\.pt$`)

// File returns the path of a step's checkpoint in a run folder.
func File(dir string, step int) string {
	return filepath.Join(dir, Dir, fmt.Sprintf("ckpt-%06d.pt", step))
}

// StepOf returns the step in a checkpoint's file name, or -1.
func StepOf(path string) int { return stepIn(checkpointName, filepath.Base(path)) }

// stepIn returns the number that the group of a pattern matches in a file name, or -1.
func stepIn(pattern *regexp.Regexp, name string) int {
	m := pattern.FindStringSubmatch(name)
	if m == nil {
		return -1
	}
	step, err := strconv.Atoi(m[1])
	if err != nil {
		return -1
	}
	return step
}

// Step returns the step of a checkpoint from its slash-separated name relative to
// the run folder: 200 for checkpoints/ckpt-000200.pt. ok is false for other files.
func Step(name string) (step int, ok bool) {
	if dir := path.Dir(name); dir != Dir && dir != "." {
		return 0, false
	}
	step = StepOf(name)
	return step, step >= 0
}

// Among returns those files of a run folder that are checkpoints, the newest first.
// Names are as for [Step].
func Among(names []string) (all []string) {
	for _, name := range names {
		if _, ok := Step(name); ok {
			all = append(all, name)
		}
	}
	newestFirst(all)
	return all
}

// Files returns the checkpoint files of a run folder, the newest first.
func Files(dir string) []string {
	var files []string
	for _, d := range []string{filepath.Join(dir, Dir), dir} {
		entries, _ := os.ReadDir(d)
		for _, e := range entries {
			if StepOf(e.Name()) >= 0 {
				files = append(files, filepath.Join(d, e.Name()))
			}
		}
	}
	newestFirst(files)
	return files
}

// HoldsRun reports whether a folder is that of a run.
func HoldsRun(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, ConfigFile))
	return err == nil || len(Files(dir)) > 0
}

// newestFirst sorts checkpoint files.
func newestFirst(files []string) {
	slices.SortStableFunc(files, func(a, b string) int { return cmp.Compare(StepOf(b), StepOf(a)) })
}

// ReplacedFiles returns the checkpoint files to delete once the newest is on the disk: all but
// the newest `keep` and those whose step is a multiple of keepEvery. Files of later steps
// belong to another branch of the run and are kept.
func ReplacedFiles(files []string, newest string, keep, keepEvery int) (old []string) {
	return beyond(files, StepOf, StepOf(newest), keep, keepEvery)
}

// beyond is the rule of [ReplacedFiles], for items of any kind, the newest first.
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
