package train

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"

	"github.com/google/renameio/v2"
	"github.com/wangkuiyi/gotorch/regularfile"

	"iddpm/checkpoint"
	"iddpm/internal/textfile"
	"iddpm/runconfig"
	"iddpm/train/metrics"
)

// samplesDir is the folder of the sample grids, which package preview writes.
const samplesDir = "samples"

// Texts returns the names of a run folder's text files: with them and a checkpoint a copy of
// the folder can be resumed and plotted.
func Texts() []string { return append([]string{checkpoint.ConfigFile}, metrics.Names()...) }

// SameRun reports whether two run folders are copies of one run, which may be at different
// steps and have different last steps.
func SameRun(a, b string) (bool, error) {
	var c [2]runconfig.Config
	for i, dir := range []string{a, b} {
		var err error
		if c[i], err = readConfig(dir); err != nil {
			return false, err
		}
	}
	x, y := c[0].Train, c[1].Train
	return reflect.DeepEqual(c[0].Model, c[1].Model) && reflect.DeepEqual(c[0].Diffusion, c[1].Diffusion) &&
		x.Seed == y.Seed && x.BatchSize == y.BatchSize && x.LR == y.LR, nil
}

func writeConfig(dir string, c runconfig.Config) error {
	text, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(dir, checkpoint.ConfigFile)
	if err := renameio.WriteFile(path, append(text, '\n'), 0o666); err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	return nil
}

// readConfig reads the configuration of a run folder.
func readConfig(dir string) (runconfig.Config, error) {
	path := filepath.Join(dir, checkpoint.ConfigFile)
	file, err := regularfile.Read(path)
	if err != nil {
		return runconfig.Config{}, err
	}
	text, err := textfile.Decode(file)
	if err != nil {
		return runconfig.Config{}, fmt.Errorf("%s: %w", path, err)
	}
	c, err := runconfig.Parse([]byte(text))
	if err != nil {
		return c, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// ReadConfig returns the configuration of a run folder, without opening its
// checkpoints.
func ReadConfig(dir string) (runconfig.Config, error) {
	c, err := readConfig(dir)
	if err != nil {
		return c, fmt.Errorf("%s is not a readable run folder: %w", dir, err)
	}
	return c, nil
}

// RunDirOf returns the run folder of a checkpoint file or of a folder of
// checkpoints, or the folder itself. It need not exist.
func RunDirOf(path string) string {
	dir := path
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		dir = filepath.Dir(path)
	} else if _, err := os.Stat(filepath.Join(dir, checkpoint.ConfigFile)); err == nil {
		return dir // a run of that name
	}
	if whole, err := filepath.Abs(dir); err == nil && filepath.Base(whole) == checkpoint.Dir {
		return filepath.Join(dir, "..")
	}
	return dir
}

// BelongsTo reports whether a checkpoint file or run folder belongs to the run in dir.
func BelongsTo(path, dir string) bool {
	own := RunDirOf(path)
	a, err := os.Stat(own)
	b, otherErr := os.Stat(dir)
	if err != nil || otherErr != nil {
		return filepath.Clean(own) == filepath.Clean(dir)
	}
	return os.SameFile(a, b)
}

// removeLeftovers removes temporary files of a killed process. The folder is locked, so no
// other process is writing them.
func removeLeftovers(dir string) {
	left := append(matching(filepath.Join(dir, checkpoint.Dir), ".ckpt-*.pt*"), matching(dir, "."+checkpoint.ConfigFile+"*")...)
	left = append(left, matching(filepath.Join(dir, checkpoint.Dir), "."+bestName+"*")...)
	left = append(left, matching(filepath.Join(dir, checkpoint.SnapshotDir), ".ema-*.pt*")...)
	left = append(left, matching(filepath.Join(dir, samplesDir), ".step-*.png*")...)
	for _, file := range left {
		os.Remove(file) // a remaining file does no harm
	}
}

// matching returns the files of a folder whose names match a pattern of [filepath.Match].
// filepath.Glob would also interpret a [ in the folder's name.
func matching(dir, pattern string) (files []string) {
	entries, _ := os.ReadDir(dir) // a missing folder has no files
	for _, e := range entries {
		if ok, err := filepath.Match(pattern, e.Name()); ok && err == nil {
			files = append(files, filepath.Join(dir, e.Name()))
		}
	}
	return files
}
