package imaging

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"path"
	"slices"
	"strings"

	"iddpm/data/imaging/turbojpeg"
)

// Formats lists the supported formats by file name extension.
const Formats = "jpg, jpeg, png, gif, webp, bmp"

// extensions are Formats as a set.
var extensions = map[string]bool{"jpg": true, "jpeg": true, "png": true, "gif": true, "webp": true, "bmp": true}

// HasExtension reports whether a file name has one of these extensions.
func HasExtension(name string) bool {
	return extensions[strings.ToLower(strings.TrimPrefix(path.Ext(name), "."))]
}

// MaxPixels bounds an image's width times height, checked before decoding. It is
// Pillow's limit against decompression bombs.
const MaxPixels = 178956970

// ErrNotAImage is the error for files in none of the Formats.
var ErrNotAImage = errors.New("not an image (" + Formats + ")")

// Decoder decodes image files to pixels. The zero value uses Go's decoders and a black
// background.
type Decoder struct {
	Background Background
	Orient     bool    // apply the EXIF orientation
	Turbo      bool    // decode jpeg with libjpeg-turbo, where UseTurbo allows it
	Memory     *Memory // buffers for one image at a time; nil: allocate for each
}

// Read reads an image file and decodes it.
func (d Decoder) Read(r io.Reader) (Image, error) {
	file, err := d.Memory.readFile(r)
	if err != nil {
		return Image{}, err
	}
	return d.Decode(file)
}

// Decode decodes an image file; it detects the format from the content. The image is
// valid until d's Memory is reset. A panic in a decoder, which hostile files have caused
// in the past, is returned as an error.
func (d Decoder) Decode(file []byte) (p Image, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the decoder failed: %v", r)
		}
	}()
	p, ok := d.decodeFast(file)
	if !ok {
		p, err = d.decodeImage(file)
	}
	if err == nil && d.Orient {
		p = p.turned(orientation(file))
	}
	return p, err
}

// decodeFast decodes formats for which there is a faster decoder than Go's.
func (d Decoder) decodeFast(file []byte) (p Image, ok bool) {
	switch {
	case d.Turbo && isJPEG(file):
		return d.decodeTurbo(file)
	case bytes.HasPrefix(file, []byte(pngSignature)):
		return d.decodePNG(file)
	}
	return Image{}, false
}

// decodeImage decodes with Go's decoders.
func (d Decoder) decodeImage(file []byte) (Image, error) {
	config, format, err := decodeConfig(d.Memory.open(file), d.Turbo)
	if err != nil {
		return Image{}, err
	}
	switch format {
	case "bmp":
		return d.decodeBMP(file, config)
	case "gif":
		return d.decodeGIF(file, config)
	case "jpeg":
		return d.decodeJPEG(file, config)
	case "png":
		return d.decodeAnyPNG(file)
	}
	return d.decodeWebP(file)
}

// decodeGIF decodes the first frame of a gif onto its logical screen. Pixels outside the
// frame are transparent or, as in Pillow, have the first colour if no colour is transparent.
func (d Decoder) decodeGIF(file []byte, config image.Config) (Image, error) {
	// Pillow accepts files that are truncated before the byte that terminates the pixels.
	img, err := gif.Decode(io.MultiReader(d.Memory.open(file), bytes.NewReader([]byte{0})))
	if err != nil {
		return Image{}, decodeError("gif", err, d.Turbo)
	}
	p, err := d.toImage(img, "gif")
	if err != nil {
		return Image{}, err
	}
	beside := d.Background
	if img, ok := img.(*image.Paletted); ok && len(img.Palette) > 0 {
		p.palette = !isGreyRamp(img.Palette)
		if img.Opaque() || !slices.ContainsFunc(img.Palette, isTransparent) {
			beside = NewBackground(img.Palette[0])
		}
	}
	return beside.canvas(p, img.Bounds().Min, config.Width, config.Height), nil
}

// decodeJPEG decodes with image/jpeg, which refuses CMYK without Adobe's marker.
// libjpeg and Pillow assume the marker, so it is inserted at the start; a marker in the
// file itself comes later and takes precedence.
func (d Decoder) decodeJPEG(file []byte, config image.Config) (Image, error) {
	r := d.Memory.open(file)
	if config.ColorModel == color.CMYKModel {
		const start, marker = "\xff\xd8", "\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"
		r = io.MultiReader(strings.NewReader(start+marker), bytes.NewReader(file[len(start):]))
	}
	img, err := jpeg.Decode(r)
	if err != nil {
		return Image{}, decodeError("jpeg", err, d.Turbo)
	}
	return d.toImage(img, "jpeg")
}

// decodeAnyPNG decodes with image/png and, if that fails, again after a repair.
func (d Decoder) decodeAnyPNG(file []byte) (Image, error) {
	if err := checkCgBI(file); err != nil {
		return Image{}, err
	}
	img, err := png.Decode(d.Memory.open(file))
	if err != nil {
		repaired, ok := repairPNG(file)
		if !ok {
			return Image{}, decodeError("png", err, d.Turbo)
		}
		if img, err = png.Decode(bytes.NewReader(repaired)); err != nil {
			return Image{}, decodeError("png", err, d.Turbo)
		}
	}
	p, err := d.toImage(img, "png")
	p.palette = p.palette || isBilevel(file)
	return p, err
}

// CheckHeader checks an image's header without decoding the pixels. It returns an error
// if the file is not an image, is truncated, too large, or of an unsupported kind.
func CheckHeader(r io.Reader) error {
	turbo := turbojpeg.Available() == nil
	_, _, err := decodeConfig(r, turbo)
	var unsupported *UnsupportedError
	if turbo && errors.As(err, &unsupported) && unsupported.Format == "jpeg" {
		return nil // libjpeg-turbo decides
	}
	return err
}

// HeaderSize returns the width and height, in pixels, from an image's header.
func HeaderSize(r io.Reader) (image.Point, error) {
	config, _, err := decodeConfig(r, false)
	return image.Pt(config.Width, config.Height), err
}

// decodeConfig reads an image's header and checks that its size can be decoded. turbo
// says whether libjpeg-turbo is tried before Go's decoders.
func decodeConfig(r io.Reader, turbo bool) (image.Config, string, error) {
	b := bufio.NewReader(r)
	head, _ := b.Peek(16)
	config, format, err := image.DecodeConfig(b)
	switch {
	case errors.Is(err, image.ErrFormat):
		return config, "", cmp.Or(foreignFormat(head), ErrNotAImage)
	case err != nil && format == "":
		return config, "", fmt.Errorf("%w: %w", ErrNotAImage, EndsEarly(err))
	case err != nil:
		return config, "", decodeError(format, err, turbo)
	case config.Width < 1 || config.Height < 1:
		return config, "", fmt.Errorf("%s of %d x %d pixels", format, config.Width, config.Height)
	case config.Width > MaxPixels/config.Height:
		return config, "", fmt.Errorf("%s of %d x %d pixels: more than %d are not decoded", format, config.Width, config.Height, MaxPixels)
	}
	return config, format, nil
}

// EndsEarly replaces an end-of-file error by a readable one.
func EndsEarly(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the file ends too early")
	}
	return err
}

// canvas places the first frame of an animation on its canvas, with its top left corner at at.
func (bg Background) canvas(p Image, at image.Point, w, h int) Image {
	if at == (image.Point{}) && p.w == w && p.h == h {
		return p
	}
	out := newImage(p.memory, w, h, p.c)
	out.palette, out.warning = p.palette, p.warning
	for i := range w * h {
		copy(out.pix[3*i:3*i+3], bg[:])
	}
	for y := range min(p.h, h-at.Y) {
		copy(out.row(y + at.Y)[3*at.X:], p.row(y)[:3*min(p.w, w-at.X)])
	}
	return out
}

// isBilevel reports whether a png is grey with one bit per pixel. Pillow resizes such
// images like those with a palette.
func isBilevel(file []byte) bool {
	const bitDepth, colourType = 24, 25
	return len(file) > colourType && file[bitDepth] == 1 && file[colourType] == 0
}

// isGreyRamp reports whether every index of a palette is the grey of that value. Pillow
// treats such gif and bmp files as grey images.
func isGreyRamp(p color.Palette) bool {
	for i, c := range p {
		if v := uint8(i); c != (color.RGBA{v, v, v, 255}) {
			return false
		}
	}
	return len(p) > 2
}

func isTransparent(c color.Color) bool {
	_, _, _, a := c.RGBA()
	return a == 0
}
