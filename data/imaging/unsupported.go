package imaging

import (
	"bytes"
	"errors"
	"fmt"
	"image/jpeg"
	"image/png"

	"github.com/jsummers/gobmp"
)

// UnsupportedError says that a file holds an image of a kind that is not decoded. Such
// a file is not corrupt.
type UnsupportedError struct {
	Format  string // as people call it: jpeg, png, HEIC, ...
	Feature string // of the format, that is not decoded; empty: the whole format
	Hint    string // what to do; may be empty
}

// Error names the format, the feature and the cure.
func (e *UnsupportedError) Error() string {
	text := e.Format
	if e.Feature != "" {
		text += " with " + e.Feature
	}
	text += " is not supported"
	if e.Hint != "" {
		text += ": " + e.Hint
	}
	return text
}

// convertHint is the cure for whole formats.
const convertHint = "convert it to one of " + Formats

// jpegFeatures are image/jpeg's names of what it does not decode, in the field's words.
// libjpeg-turbo decodes those that are true here.
var jpegFeatures = map[jpeg.UnsupportedError]struct {
	name  string
	turbo bool
}{
	"luma/chroma subsampling ratio": {"an unusual chroma subsampling", true},
	"unknown marker":                {"arithmetic, lossless or hierarchical coding", true},
	"precision":                     {"other than 8 bits per sample", false},
	"number of components":          {"other than 1, 3 or 4 components", false},
}

// decodeError says what a decoder's error means for a file of a format: that it is
// corrupt, or of a kind that is not supported.
func decodeError(format string, err error, turbo bool) error {
	var jpegError jpeg.UnsupportedError
	var pngError png.UnsupportedError
	var bmpError gobmp.UnsupportedError
	switch {
	case errors.As(err, &jpegError):
		e := &UnsupportedError{Format: format, Feature: string(jpegError)}
		if f, ok := jpegFeatures[jpegError]; ok {
			e.Feature = f.name
			if f.turbo && !turbo {
				e.Hint = "libjpeg-turbo may decode it where it is installed (Debian's and Fedora's packages: libturbojpeg0, turbojpeg)"
			}
		}
		return e
	case errors.As(err, &pngError):
		return &UnsupportedError{Format: format, Feature: string(pngError)}
	case errors.As(err, &bmpError):
		return &UnsupportedError{Format: format, Feature: string(bmpError)}
	}
	return fmt.Errorf("corrupt %s: %w", format, EndsEarly(err))
}

// foreign are the first bytes of formats that files named as images often have; a dot
// matches any byte.
var foreign = []struct{ format, magic string }{
	{"HEIC", "....ftyphei"}, {"HEIC", "....ftyphev"}, {"HEIC", "....ftypmif1"}, {"HEIC", "....ftypmsf1"},
	{"AVIF", "....ftypavi"},
	{"TIFF", "II*\x00"}, {"TIFF", "MM\x00*"}, {"TIFF", "II+\x00"}, {"TIFF", "MM\x00+"},
	{"JPEG 2000", "\x00\x00\x00\x0cjP  "}, {"JPEG 2000", "\xff\x4f\xff\x51"},
	{"JPEG XL", "\x00\x00\x00\x0cJXL "}, {"JPEG XL", "\xff\x0a"},
	{"Photoshop", "8BPS"}, {"SVG", "<svg"}, {"ICO", "\x00\x00\x01\x00"}, {"DDS", "DDS "}, {"OpenEXR", "\x76\x2f\x31\x01"},
	{"QOI", "qoif"}, {"PNM", "P5\n"}, {"PNM", "P6\n"}, {"JNG", "\x8bJNG"}, {"MNG", "\x8aMNG"},
}

// foreignFormat names the format of a file that starts with head, if it is an image
// format that is not decoded; else it returns nil.
func foreignFormat(head []byte) error {
	for _, f := range foreign {
		if len(head) < len(f.magic) {
			continue
		}
		match := true
		for i := range len(f.magic) {
			match = match && (f.magic[i] == '.' || f.magic[i] == head[i])
		}
		if match {
			return &UnsupportedError{Format: f.format, Hint: convertHint}
		}
	}
	return nil
}

// checkCgBI refuses the png variant of Apple's build tools, whose pixels are stored
// in another order and with another compression.
func checkCgBI(file []byte) error {
	const name = len(pngSignature) + 4
	if len(file) > name && bytes.HasPrefix(file, []byte(pngSignature)) && bytes.HasPrefix(file[name:], []byte("CgBI")) {
		return &UnsupportedError{Format: "png", Feature: "Apple's CgBI chunk", Hint: "convert it with pngcrush -revert-iphone-optimizations"}
	}
	return nil
}
