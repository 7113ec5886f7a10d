package data

import (
	"path"
	"strings"
)

// JPEGDecoder says what decodes the jpeg files of the set, libjpeg-turbo or Go:
// their pixels differ by a few grey levels. It is empty where no file is named as
// one.
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
	if _, encoded := d.source.(*files); !encoded {
		return false
	}
	for i := range d.Len() {
		switch strings.ToLower(path.Ext(d.ImageName(i))) {
		case ".jpg", ".jpeg", "": // LMDB's keys do not tell
			return true
		}
	}
	return false
}
