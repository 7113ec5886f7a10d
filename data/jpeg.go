package data

import (
	"path"
	"strings"
)

// JPEGDecoder names the decoder of the set's jpeg files, libjpeg-turbo or Go: their
// pixels differ by a few grey levels. It is empty if the set has no jpeg files.
func (d *Dataset) JPEGDecoder() string {
	switch {
	case !d.jpegs:
		return ""
	case d.decoder.Turbo:
		return "libjpeg-turbo"
	}
	return "Go"
}

func (d *Dataset) mayHoldJPEG() bool {
	if _, raw := d.source.(*arrays); raw {
		return false
	}
	for i := range d.Len() {
		switch strings.ToLower(path.Ext(d.ImageName(i))) {
		case ".jpg", ".jpeg", "": // LMDB keys and rows have no extension
			return true
		}
	}
	return false
}
