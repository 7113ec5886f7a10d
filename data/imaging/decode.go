package imaging

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"io"
	"path"
	"strings"

	// The Formats that image.Decode recognises, by content and not by name.
	_ "image/gif"
	_ "image/jpeg"
	_ "image/png"

	_ "golang.org/x/image/bmp"
	_ "golang.org/x/image/webp"
)

// Formats are what is decoded, by the endings of file names.
const Formats = "jpg, jpeg, png, gif, webp, bmp"

// extensions are Formats as a set.
var extensions = map[string]bool{"jpg": true, "jpeg": true, "png": true, "gif": true, "webp": true, "bmp": true}

// HasExtension reports whether a file's name ends as a picture's does.
func HasExtension(name string) bool {
	return extensions[strings.ToLower(strings.TrimPrefix(path.Ext(name), "."))]
}

// MaxPixels bounds a picture's width times height, checked before it is
// decoded: Pillow's own limit against decompression bombs.
const MaxPixels = 178956970

// ErrNotAPicture is the error of files in none of the Formats.
var ErrNotAPicture = errors.New("not a picture (" + Formats + ")")

// Decoder is how encoded pictures are turned into pixels. The zero value decodes with
// Go's decoders, over black.
type Decoder struct {
	Background Background
	Orient     bool    // turn pictures as their EXIF orientation says
	Turbo      bool    // decode jpeg with libjpeg-turbo, where UseTurbo allows it
	Memory     *Memory // for one picture at a time; nil: new for each
}

// Read reads a picture file to its end, and decodes it.
func (d Decoder) Read(r io.Reader) (Picture, error) {
	file, err := d.Memory.readFile(r)
	if err != nil {
		return Picture{}, err
	}
	return d.Decode(file)
}

// Decode decodes a picture file, by what it holds and not by its name. The picture lives
// until d's Memory is reset. A panic in a decoder, which hostile files have provoked in
// the past, is an error like any other.
func (d Decoder) Decode(file []byte) (p Picture, err error) {
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

// decodeFast decodes what there is a faster way for than Go's decoders.
func (d Decoder) decodeFast(file []byte) (p Picture, ok bool) {
	switch {
	case d.Turbo && isJPEG(file):
		return d.decodeTurbo(file)
	case bytes.HasPrefix(file, []byte(pngSignature)):
		return d.decodePNG(file)
	}
	return Picture{}, false
}

// decodeImage decodes with Go's decoders.
func (d Decoder) decodeImage(file []byte) (p Picture, err error) {
	config, format, err := decodeConfig(d.Memory.open(file))
	if err != nil {
		return Picture{}, err
	}
	img, _, err := image.Decode(d.Memory.open(file))
	if err != nil {
		return Picture{}, fmt.Errorf("corrupt %s: %w", format, EndsEarly(err))
	}
	if p, err = d.toPicture(img, format); err != nil {
		return Picture{}, err
	}
	switch format {
	case "gif":
		p = d.Background.canvas(p, img.Bounds().Min, config.Width, config.Height)
	case "png":
		p.palette = p.palette || isBilevel(file)
	}
	return p, nil
}

// CheckHeader returns the error that a picture's header shows, without decoding it: that
// it is no picture, is cut short, or is too large.
func CheckHeader(r io.Reader) error {
	_, _, err := decodeConfig(r)
	return err
}

// decodeConfig reads a picture's header and checks that its size can be decoded.
func decodeConfig(r io.Reader) (image.Config, string, error) {
	config, format, err := image.DecodeConfig(r)
	switch {
	case errors.Is(err, image.ErrFormat):
		return config, "", ErrNotAPicture
	case err != nil && format == "":
		return config, "", fmt.Errorf("%w: %w", ErrNotAPicture, EndsEarly(err))
	case err != nil:
		return config, "", fmt.Errorf("corrupt %s: %w", format, EndsEarly(err))
	case config.Width < 1 || config.Height < 1:
		return config, "", fmt.Errorf("%s of %d x %d pixels", format, config.Width, config.Height)
	case config.Width > MaxPixels/config.Height:
		return config, "", fmt.Errorf("%s of %d x %d pixels: more than %d are not decoded", format, config.Width, config.Height, MaxPixels)
	}
	return config, format, nil
}

// EndsEarly says what an end of file means to whoever reads the message.
func EndsEarly(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the file ends too early")
	}
	return err
}

// canvas puts the first frame of a gif, whose corner is at, on its screen.
func (bg Background) canvas(p Picture, at image.Point, w, h int) Picture {
	if at == (image.Point{}) && p.w == w && p.h == h {
		return p
	}
	out := newPicture(p.memory, w, h, p.c)
	out.palette = p.palette
	for i := range w * h {
		copy(out.pix[3*i:3*i+3], bg[:])
	}
	for y := range min(p.h, h-at.Y) {
		copy(out.row(y + at.Y)[3*at.X:], p.row(y)[:3*min(p.w, w-at.X)])
	}
	return out
}

// isBilevel reports whether a png is grey with one bit per pixel, which Pillow
// resizes as it does palettes.
func isBilevel(file []byte) bool {
	const bitDepth, colourType = 24, 25
	return len(file) > colourType && file[bitDepth] == 1 && file[colourType] == 0
}
