package data

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"iddpm/data/imaging"
)

// batchSets returns the supported sets, recognised by the names of their files.
func batchSets() []batchSet {
	return []batchSet{
		{title: "CIFAR-10", parts: splits(`data_batch_\d\.bin`, `test_batch\.bin`), read: cifarRecords(1), names: "batches.meta.txt"},
		{title: "CIFAR-10", parts: splits(`data_batch_\d`, `test_batch`), read: pickledBatch("labels", 0), names: "batches.meta", key: "label_names"},
		{title: "CIFAR-100", parts: splits(`train\.bin`, `test\.bin`), read: cifarRecords(2), names: "fine_label_names.txt"},
		{title: "CIFAR-100", parts: splits(`train`, `test`), read: pickledBatch("fine_labels", 0), names: "meta", key: "fine_label_names"},
		{title: "downsampled ImageNet", parts: splits(`train_data_batch_\d+`, `val_data`), read: pickledBatch("labels", 1)},
		{title: "downsampled ImageNet", parts: splits(`train_data_batch_\d+\.npz`, `val_data\.npz`), read: readNPZBatch},
		{title: "MNIST", parts: splits(`(.+-)?train-images[-.]idx[34]-ubyte`, `(.+-)?(t10k|test)-images[-.]idx[34]-ubyte`), read: readIDX, labels: idxLabels},
	}
}

// openBatchFolder opens a supported set unpacked in dir. It returns nil if dir
// contains none.
func openBatchFolder(dir, split string) (*collection, error) {
	found, err := fileNames(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot list the images: %w", explained(err))
	}
	set, wanted := findBatchSet(found)
	if set == nil {
		return nil, nil
	}
	return set.openFiles(dir, wanted, split, dir)
}

// batchFolderBelow returns the first folder below dir with a supported set, as torchvision leaves
// MNIST in MNIST/raw; "" if there is none.
func batchFolderBelow(dir string) (found string) {
	_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() {
			return nil
		}
		if names, err := fileNames(path); err == nil {
			if set, _ := findBatchSet(names); set != nil {
				found = path
				return fs.SkipAll
			}
		}
		return nil
	})
	return found
}

// fileNames lists the files of a folder.
func fileNames(dir string) (names []string, err error) {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if !e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// findBatchSet returns the set whose files are among names, and those of names
// that belong to it. Where a file is also there compressed, only the file belongs to it.
func findBatchSet(names []string) (*batchSet, []string) {
	there := map[string]bool{}
	for _, name := range names {
		there[name] = true
	}
	for _, set := range batchSets() {
		var of []string
		parts, files := 0, set.files(names, set.isPart)
		for _, name := range names {
			plain, packed := strings.CutSuffix(name, gzipped)
			if !files[plain] || packed && (set.labels == nil || there[plain]) {
				continue
			}
			of = append(of, name)
			if set.isPart(plain) {
				parts++
			}
		}
		// Files named just "train" and "test" may be of any format.
		if parts > 0 && (set.key == "" || there[set.names]) {
			return &set, of
		}
	}
	return nil, nil
}

// openBatchArchive opens a supported set as downloaded. A compressed file has no
// random access, so the whole set is read into memory.
func openBatchArchive(file, split string) (*collection, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("cannot open the images: %w", explained(err))
	}
	defer f.Close()
	c, err := readBatchArchive(f, split, file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return c, nil
}

func readBatchArchive(r io.Reader, split, where string) (*collection, error) {
	blobs, err := unpack(r)
	if err != nil {
		return nil, fmt.Errorf("not a readable .tar.gz: %w", imaging.EndsEarly(err))
	}
	set, _ := findBatchSet(slices.Sorted(maps.Keys(blobs)))
	if set == nil {
		return nil, errors.New("neither CIFAR-10 nor CIFAR-100: decompress a tar of images or of webdataset samples (gunzip), and unpack other archives and name the folder")
	}
	return set.open(blobs, split, where)
}

// unpack reads the files of a .tar.gz that may belong to a supported set.
func unpack(r io.Reader) (map[string]*blob, error) {
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, err
	}
	t := tar.NewReader(z)
	blobs := map[string]*blob{}
	left := int64(maxUnpacked)
	for {
		h, err := t.Next()
		if err == io.EOF {
			return blobs, nil
		}
		if err != nil {
			return nil, err
		}
		name := path.Base(h.Name)
		known := func(s batchSet) bool { return s.labels == nil && (s.isPart(name) || name == s.names) }
		if h.Typeflag != tar.TypeReg || !slices.ContainsFunc(batchSets(), known) {
			continue
		}
		content, err := readUnpacked(t, left)
		if err != nil {
			return nil, err
		}
		left -= int64(len(content))
		blobs[name] = &blob{name: name, r: bytes.NewReader(content), size: int64(len(content))}
	}
}
