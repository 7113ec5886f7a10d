package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// MakeFolder creates the output folder and checks that it is writable, before the work
// and not after it. flag names the folder; release removes it if it is new and empty.
func MakeFolder(dir, flag string) (release func(), err error) {
	release = func() {}
	if !Exists(dir) {
		release = func() { os.Remove(dir) }
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, fmt.Errorf("cannot create the output folder, name another by %s: %w", flag, err)
	}
	probe, err := os.CreateTemp(dir, ".iddpm-")
	if err != nil {
		return nil, fmt.Errorf("cannot write to the output folder, name another by %s: %w", flag, err)
	}
	return release, errors.Join(probe.Close(), os.Remove(probe.Name()))
}

// FreePaths turns file names, of which some may be empty, into paths in a folder that do not
// exist yet: if one exists, all of them get the first free number. A path that cannot be inspected
// counts as free: writing it returns the error, whatever its number.
func FreePaths(dir string, names ...*string) {
	taken := func(end string) bool {
		for _, name := range names {
			if *name == "" {
				continue
			}
			if _, err := os.Lstat(numbered(dir, *name, end)); err == nil {
				return true
			}
		}
		return false
	}
	end := ""
	for n := 2; taken(end); n++ {
		end = fmt.Sprintf("-%d", n)
	}
	for _, name := range names {
		if *name != "" {
			*name = numbered(dir, *name, end)
		}
	}
}

// numbered returns the path of a file with an end inserted before its extension.
func numbered(dir, name, end string) string {
	extension := filepath.Ext(name)
	return filepath.Join(dir, strings.TrimSuffix(name, extension)+end+extension)
}

// WriteError adds the file's path to a write error.
func WriteError(path string, err error) error {
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	return nil
}

// Exists reports whether a path exists, readable or not.
func Exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, os.ErrNotExist)
}

// IsNPZ reports whether a path names an .npz file.
func IsNPZ(path string) bool { return strings.EqualFold(filepath.Ext(path), ".npz") }
