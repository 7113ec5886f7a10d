package data

import (
	"archive/zip"
	"encoding/json"
	"hash/crc32"

	"github.com/google/renameio/v2"

	"iddpm/data/imaging"
)

func copyEntry(z *zip.Writer, f *zip.File, name string) error {
	r, err := f.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	file, err := imaging.ReadFile(r) // checks the checksum
	if err != nil {
		return err
	}
	return store(z, name, file)
}

func storeLabels(z *zip.Writer, labels [][2]any, classes []string) error {
	d := struct {
		Labels     [][2]any `json:"labels"`
		ClassNames []string `json:"class_names,omitempty"`
	}{ClassNames: classes}
	if classes != nil {
		d.Labels = labels
	}
	file, err := json.Marshal(d)
	if err != nil {
		return err
	}
	return store(z, labelFile, file)
}

// store adds an uncompressed file without a modification time, so that equal images
// give equal zips.
func store(z *zip.Writer, name string, file []byte) error {
	w, err := z.CreateRaw(&zip.FileHeader{
		Name: name, Method: zip.Store, CRC32: crc32.ChecksumIEEE(file),
		CompressedSize64: uint64(len(file)), UncompressedSize64: uint64(len(file)),
	})
	if err != nil {
		return err
	}
	_, err = w.Write(file)
	return err
}

// writeZip writes a zip atomically: checks run on the temporary file before it is renamed.
func writeZip(path string, fill func(*zip.Writer) error, checks ...func(file string) error) error {
	f, err := renameio.NewPendingFile(path, renameio.WithPermissions(0o666))
	if err != nil {
		return err
	}
	defer f.Cleanup()
	z := zip.NewWriter(f)
	if err := fill(z); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	for _, check := range checks {
		if err := check(f.Name()); err != nil {
			return err
		}
	}
	return f.CloseAtomicallyReplace()
}
