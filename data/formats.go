package data

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"iddpm/data/imaging"
)

// openSource opens the set at path; the empty path is the built-in set. split selects
// the train or test split of a published set.
func openSource(path, split string) (*collection, error) {
	if !slices.Contains([]string{"", "train", "validation", "test"}, split) {
		return nil, fmt.Errorf("split %q: choose train, validation or test", split)
	}
	c, err := openAny(path, split)
	if err == nil && split != "" && !c.split {
		c.Close()
		return nil, fmt.Errorf("%s is not split into train and test: name the images to use", c.title)
	}
	return c, err
}

func openAny(path, split string) (*collection, error) {
	if path == "" {
		return openEmoji()
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && strings.ContainsAny(path, "{*"):
		return nil, fmt.Errorf("%s does not exist: patterns are not expanded; name the folder of the shards, or one of them (%w)", path, fs.ErrNotExist)
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s does not exist: name a folder of images, or a .zip of them (%w)", path, fs.ErrNotExist)
	case err != nil:
		return nil, fmt.Errorf("cannot open the images: %w", explained(err))
	case info.IsDir():
		if c, err := openBatchFolder(path, split); c != nil || err != nil {
			return c, err
		}
		if c, err := openLMDBFolder(path); c != nil || err != nil {
			return c, err
		}
		return openFolder(path, split)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is a pipe or a device: name a file or a folder of images", path)
	}
	switch name := strings.ToLower(path); {
	case strings.HasSuffix(name, ".zip"):
		return openZip(path)
	case strings.HasSuffix(name, ".npz"):
		return openNPZ(path)
	case strings.HasSuffix(name, ".mdb"):
		return openLMDB(path, "LMDB "+path)
	case strings.HasSuffix(name, ".tar.gz"), strings.HasSuffix(name, ".tgz"):
		return openBatchArchive(path, split)
	case strings.HasSuffix(name, parquetExtension):
		return openShard(path, openParquet)
	case strings.HasSuffix(name, tarExtension):
		return openShard(path, openTar)
	case isIDX(path):
		return openIDX(path)
	case isImageFile(path):
		return openImage(path), nil
	}
	return nil, fmt.Errorf("%s is neither an image (%s), nor a folder or a .zip of images, nor a .parquet, a .tar, an .npz, CIFAR's .tar.gz, MNIST's idx or an LMDB's .mdb", path, imaging.Formats)
}

// openFolder opens the images under dir, or those in its Parquet or tar files if these are
// more.
func openFolder(dir, split string) (*collection, error) {
	l, err := listFolder(dir)
	if err != nil {
		return nil, err
	}
	if len(l.shards) == 0 {
		c, err := l.open(dir)
		if below := batchFolderBelow(dir); err != nil && below != "" {
			err = fmt.Errorf("%w: name %s", err, below)
		}
		return c, err
	}
	c, err := openShards(dir, l.shards, split)
	switch {
	case isShortage(err), err != nil && len(l.names) == 0:
		return nil, err
	case c == nil:
		return l.open(dir)
	case c.count() <= len(l.names):
		if err := c.Close(); err != nil {
			return nil, err
		}
		return l.open(dir)
	}
	c.unreadable = l.unreadable
	for _, o := range l.left {
		c.leftOut.addAll(o)
	}
	for _, name := range l.names {
		c.leftOut.add(ReasonShards, name)
	}
	return c, nil
}

// openShards opens the shards of a folder, of whichever kind there are: names are relative
// to dir. It returns nil if they hold no images.
func openShards(dir string, names []string, split string) (*collection, error) {
	for _, kind := range []struct {
		extension string
		open      func(shardSet, string) (*collection, error)
	}{{parquetExtension, openParquet}, {tarExtension, openTar}} {
		var s shardSet
		for _, name := range names {
			if strings.EqualFold(path.Ext(name), kind.extension) {
				s.names = append(s.names, name)
			}
		}
		if len(s.names) == 0 {
			continue
		}
		slices.Sort(s.names)
		s.dir = dir
		s, err := s.chooseSplit(split)
		if err != nil {
			return nil, err
		}
		c, err := kind.open(s, dir)
		if err != nil && !errors.Is(err, errNoImageColumn) && !errors.Is(err, errNoMembers) {
			return nil, err
		}
		if err == nil {
			return c, nil
		}
	}
	return nil, nil
}

// openShard opens one file of images.
func openShard(file string, open func(shardSet, string) (*collection, error)) (*collection, error) {
	return open(shardSet{dir: filepath.Dir(file), names: []string{filepath.Base(file)}, alone: true}, file)
}
