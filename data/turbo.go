package data

import (
	"bytes"
	"fmt"
	"path"
	"strings"

	"iddpm/data/turbojpeg"
)

// chooseTurbo reports whether to decode jpeg with libjpeg-turbo, by
// Options.JPEGDecoder.
func chooseTurbo(decoder string) (bool, error) {
	switch decoder {
	case "", "auto":
		return turbojpeg.Available() == nil, nil
	case "turbo":
		err := turbojpeg.Available()
		return err == nil, err
	case "go":
		return false, nil
	}
	return false, fmt.Errorf("%q decodes no jpeg: choose auto, turbo or go", decoder)
}

func isJPEG(file []byte) bool { return bytes.HasPrefix(file, []byte("\xff\xd8\xff")) }

// decodeTurbo decodes a jpeg file with libjpeg-turbo. Where that so much as
// warns, it is not ok, and Go's decoder has the last word on whether the file is
// corrupt: so the same files are readable on every machine.
func (d decoding) decodeTurbo(file []byte) (p picture, ok bool) {
	decoder, err := d.memory.turbo()
	if err != nil {
		return picture{}, false
	}
	header, err := decoder.Header(file)
	if err != nil || header.Width > maxPixels/header.Height {
		return picture{}, false
	}
	p = newPicture(d.memory, header.Width, header.Height, header.Channels)
	if err := decoder.Decode(p.pix, file, header); err != nil {
		return picture{}, false
	}
	if p.c == 4 {
		for i, v := range p.pix {
			p.pix[i] = ^v
		}
	}
	return p, true
}

// JPEGDecoder says what decodes the jpeg files of the set, libjpeg-turbo or Go:
// their pixels differ by a few grey levels. It is empty where no file is named as
// one.
func (d *Dataset) JPEGDecoder() string {
	switch {
	case !d.jpegs:
		return ""
	case d.dec.turbo:
		return "libjpeg-turbo"
	}
	return "Go"
}

func (d *Dataset) mayHoldJPEG() bool {
	if _, encoded := d.source.(*files); !encoded {
		return false
	}
	for i := range d.Len() {
		switch strings.ToLower(path.Ext(d.PictureName(i))) {
		case ".jpg", ".jpeg", "": // LMDB's keys do not tell
			return true
		}
	}
	return false
}
