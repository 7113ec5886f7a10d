package imaging

import (
	"bytes"
	"errors"
	"fmt"
	"image/jpeg"
	"image/png"

	"github.com/jsummers/gobmp"
)

// UnsupportedError says that a file is an image in an unsupported format or with an
// unsupported feature. Such a file is not corrupt.
type UnsupportedError struct {
	Format  string // common name: jpeg, png, HEIC, ...
	Feature string // unsupported feature of the format; empty: the whole format
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

// convertHint is the hint for unsupported formats.
const convertHint = "convert it to one of " + Formats

// jpegFeatures translates image/jpeg's names of unsupported features. libjpeg-turbo
// decodes those that are true here.
var jpegFeatures = map[jpeg.UnsupportedError]struct {
	name  string
	turbo bool
}{
	"luma/chroma subsampling ratio": {"an unusual chroma subsampling", true},
	"unknown marker":                {"arithmetic, lossless or hierarchical coding", true},
	"precision":                     {"other than 8 bits per sample", false},
	"number of components":          {"other than 1, 3 or 4 components", false},
}

// decodeError classifies a decoder's error: the file is corrupt, or its kind is not
// supported.
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

// foreign are the first bytes of unsupported formats that files with image extensions
// often have; a dot matches any byte.
var foreign = []struct{ format, magic string }{
	{"HEIC", "....ftyphei"}, {"HEIC", "....ftyphev"}, {"HEIC", "....ftypmif1"}, {"HEIC", "....ftypmsf1"},
	{"AVIF", "....ftypavi"},
	{"TIFF", "II*\x00"}, {"TIFF", "MM\x00*"}, {"TIFF", "II+\x00"}, {"TIFF", "MM\x00+"},
	{"JPEG 2000", "\x00\x00\x00\x0cjP  "}, {"JPEG 2000", "\xff\x4f\xff\x51"},
	{"JPEG XL", "\x00\x00\x00\x0cJXL "}, {"JPEG XL", "\xff\x0a"},
	{"Photoshop", "8BPS"}, {"SVG", "<svg"}, {"ICO", "\x00\x00\x01\x00"}, {"DDS", "DDS "}, {"OpenEXR", "\x76\x2f\x31\x01"},
	{"QOI", "qoif"}, {"PNM", "P5\n"}, {"PNM", "P6\n"}, {"JNG", "\x8bJNG"}, {"MNG", "\x8aMNG"},
}

// foreignFormat returns an UnsupportedError if head is the start of a file in an
// unsupported image format, else nil.
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

// checkCgBI refuses the png variant of Apple's build tools, which has another pixel
// order and another compression.
func checkCgBI(file []byte) error {
	const name = len(pngSignature) + 4
	if len(file) > name && bytes.HasPrefix(file, []byte(pngSignature)) && bytes.HasPrefix(file[name:], []byte("CgBI")) {
		return &UnsupportedError{Format: "png", Feature: "Apple's CgBI chunk", Hint: "convert it with pngcrush -revert-iphone-optimizations"}
	}
	return nil
}
