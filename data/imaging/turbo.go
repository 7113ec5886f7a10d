package imaging

import (
	"bytes"
	"fmt"

	"iddpm/data/imaging/turbojpeg"
)

// UseTurbo reports whether to decode jpeg with libjpeg-turbo. decoder is "turbo", "go",
// or "auto" (or empty): turbo if it is installed.
func UseTurbo(decoder string) (bool, error) {
	switch decoder {
	case "", "auto":
		return turbojpeg.Available() == nil, nil
	case "turbo":
		err := turbojpeg.Available()
		return err == nil, err
	case "go":
		return false, nil
	}
	return false, fmt.Errorf("%q is not a jpeg decoder: choose auto, turbo or go", decoder)
}

func isJPEG(file []byte) bool { return bytes.HasPrefix(file, []byte("\xff\xd8\xff")) }

// decodeTurbo decodes a jpeg file with libjpeg-turbo. If that fails or warns, ok is
// false, and Go's decoder decides whether the file is corrupt: so the same files
// are readable on every machine.
func (d Decoder) decodeTurbo(file []byte) (p Image, ok bool) {
	decoder, err := d.Memory.turbo()
	if err != nil {
		return Image{}, false
	}
	header, err := decoder.Header(file)
	if err != nil || header.Width > MaxPixels/header.Height {
		return Image{}, false
	}
	p = newImage(d.Memory, header.Width, header.Height, header.Channels)
	if err := decoder.Decode(p.pix, file, header); err != nil {
		return Image{}, false
	}
	if p.c == 4 {
		for i, v := range p.pix {
			p.pix[i] = ^v
		}
	}
	return p, true
}
