package checkpoint

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/wangkuiyi/gotorch/pt"

	"iddpm/diffusers"
)

// Load reads a checkpoint file, a bare state_dict, a safetensors file, the newest readable checkpoint
// of a run folder ([Checkpoint.LogOrigin] names newer ones), or a folder of diffusers' UNet2DModel.
func Load(path string) (*Checkpoint, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("no checkpoint or run folder %s: %w%s", path, err, otherRuns(path))
	}
	if dir, ok := diffusers.Find(path); ok {
		return readDiffusers(dir)
	}
	if !info.IsDir() {
		return readCheckpoint(path)
	}
	var errs []error
	for _, file := range Files(path) {
		c, err := readCheckpoint(file)
		if err == nil {
			c.unreadable = errs
			return c, nil
		}
		errs = append(errs, err)
	}
	if _, err := os.Stat(filepath.Join(path, ConfigFile)); err == nil && len(errs) == 0 {
		return nil, fmt.Errorf("the run %s %w yet: wait for its first save, or, if it has stopped, resume it by `iddpm resume %s`", path, ErrNone, path)
	}
	if len(errs) == 0 {
		return nil, fmt.Errorf("%s %w (%s/ckpt-*.pt): is it a run folder?", path, ErrNone, Dir)
	}
	return nil, fmt.Errorf("no checkpoint of %s can be read; if they are removed from %s, the run starts again: %w", path, Dir, errors.Join(errs...))
}

// shownRuns is the number of runs in an error message.
const shownRuns = 5

// otherRuns names the last runs in the parent folder of a path that does not exist, for an error.
func otherRuns(path string) string {
	parent := filepath.Dir(path)
	entries, _ := os.ReadDir(parent) // an unreadable folder has none
	var runs []string
	for _, e := range entries {
		if e.IsDir() && HoldsRun(filepath.Join(parent, e.Name())) {
			runs = append(runs, e.Name())
		}
	}
	if len(runs) == 0 {
		return ""
	}
	return fmt.Sprintf("; the runs in %s are %s", parent, strings.Join(runs[max(0, len(runs)-shownRuns):], ", "))
}

func readCheckpoint(path string) (*Checkpoint, error) {
	if isSafetensors(path) {
		return readSafetensors(path)
	}
	value, err := pt.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return parseCheckpoint(path, value)
}

// parseCheckpoint reads the unpickled value of a file as a checkpoint.
func parseCheckpoint(path string, value any) (*Checkpoint, error) {
	dict, ok := value.(*pt.Dict)
	if !ok {
		return nil, fmt.Errorf("checkpoint %s: holds a %s, not a checkpoint of iddpm or a state_dict", path, pt.TypeName(value))
	}
	c := &Checkpoint{Path: path}
	if _, ok := dict.Get("format"); !ok {
		return c, c.readBare(dict)
	}
	if err := c.read(fields{dict: dict}); err != nil {
		return nil, fmt.Errorf("checkpoint %s: %w", path, err)
	}
	return c, nil
}
