package evaluate

import (
	"os"
	"path/filepath"
	"strings"

	"iddpm/data"
)

// Reference is what samples are compared with: statistics of a file, images, or both.
type Reference struct {
	Name   string          // its path
	Known  SavedStatistics // read from its file
	Images *data.Dataset   // nil: there are none, or the statistics suffice
}

// OpenReference opens an .npz of statistics, or images with the given options. Of an .npz that
// holds both it opens the images only if the features are missing. Options that select images
// (Split, Limit) need images: otherwise the error is a [StatisticsOnlyError].
func OpenReference(path string, o data.Options) (*Reference, error) {
	r := &Reference{Name: path}
	info, err := os.Stat(path)
	if err == nil && info.Mode().IsRegular() && strings.EqualFold(filepath.Ext(path), ".npz") {
		if r.Known, err = ReadStatistics(path); err != nil {
			return nil, err
		}
	}
	if r.Known.Pool != nil && (!r.Known.HasImages || r.Known.Features.Defined()) {
		if o.Split != "" || o.Limit > 0 {
			return nil, &StatisticsOnlyError{path}
		}
		return r, nil
	}
	r.Images, err = data.Open(path, o)
	return r, err
}

// Close closes the images.
func (r *Reference) Close() {
	if r != nil && r.Images != nil {
		r.Images.Close()
	}
}
