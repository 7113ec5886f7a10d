package data

import (
	"context"
	"fmt"
	"path"
	"path/filepath"
	"regexp"
	"slices"
)

// The extensions of files of many images.
const (
	parquetExtension = ".parquet"
	tarExtension     = ".tar"
)

// shardSet is a set of images in files of many each: Parquet files as written by Hugging
// Face's datasets, or tar files as written by webdataset.
type shardSet struct {
	names []string // relative to dir, in order
	dir   string
	split string // "" if the names say none
	alone bool   // whether the one file is the set, so that errors name it already
}

// paths returns the files' paths.
func (s shardSet) paths() []string {
	paths := make([]string, len(s.names))
	for i, name := range s.names {
		paths[i] = filepath.Join(s.dir, filepath.FromSlash(name))
	}
	return paths
}

// openFilesOf opens the files of a set on all cores. Where one cannot be opened, the result is
// the zero value for some of them, and the error names it.
func openFilesOf[T any](s shardSet, open func(path, name string) (T, error)) ([]T, error) {
	opened, paths := make([]T, len(s.names)), s.paths()
	err := parallel(context.Background(), len(paths), func(i int) (err error) {
		if opened[i], err = open(paths[i], s.names[i]); err != nil && !s.alone {
			err = fmt.Errorf("%s: %w", s.names[i], err)
		}
		return err
	})
	return opened, err
}

// title names the set, for a log line.
func (s shardSet) title(kind, where string) string {
	if s.split != "" {
		kind += " (" + s.split + ")"
	}
	return kind + " " + where
}

// splitWords are the words by which file names and folders say their split, as in
// Hugging Face's repositories: train-00000-of-00005.parquet, imagenet-val-000000.tar.
var splitWords = []struct {
	split string
	word  *regexp.Regexp
}{
	{"train", regexp.MustCompile(`(?i)(^|[^a-z])train(ing)?([^a-z]|$)`)},
	{"validation", regexp.MustCompile(`(?i)(^|[^a-z])(validation|valid|val|dev)([^a-z]|$)`)},
	{"test", regexp.MustCompile(`(?i)(^|[^a-z])(test|testing|eval|evaluation)([^a-z]|$)`)},
}

// splitOf returns the split that a file's name says, or else its innermost folder that
// says one, or "".
func splitOf(name string) string {
	for ; name != "." && name != "/"; name = path.Dir(name) {
		for _, s := range splitWords {
			if s.word.MatchString(path.Base(name)) {
				return s.split
			}
		}
	}
	return ""
}

// chooseSplit restricts shards to those of a split. Without a choice it is train, where
// the names say that there are several splits.
func (s shardSet) chooseSplit(split string) (shardSet, error) {
	of := map[string][]string{}
	var found []string
	for _, name := range s.names {
		k := splitOf(name)
		if of[k] = append(of[k], name); len(of[k]) == 1 {
			found = append(found, k)
		}
	}
	slices.Sort(found)
	if len(found) == 1 && found[0] == "" {
		return s, nil // the caller refuses a split
	}
	if split == "" {
		if split = "train"; len(found) == 1 {
			split = found[0]
		}
	}
	if of[split] == nil {
		return s, fmt.Errorf("%s has no %s images: its files are of the splits %q", s.dir, split, found)
	}
	s.names, s.split = of[split], split
	return s, nil
}
