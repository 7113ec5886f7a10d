package data

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"io"

	// The formats that image.Decode recognises, by content and not by name.
	_ "image/gif"
	_ "image/jpeg"
	_ "image/png"

	_ "golang.org/x/image/bmp"
	_ "golang.org/x/image/webp"
)

// extensions are the file name endings of pictures, in lower case.
var extensions = map[string]bool{"jpg": true, "jpeg": true, "png": true, "gif": true, "webp": true, "bmp": true}

const formats = "jpg, jpeg, png, gif, webp, bmp"

// maxPixels bounds a picture's width times height, checked before it is
// decoded: Pillow's own limit against decompression bombs.
const maxPixels = 178956970

// maxFile bounds the bytes of one encoded picture.
const maxFile = 1 << 28

var errNotAPicture = errors.New("not a picture (" + formats + ")")

// decoding is how encoded pictures are turned into pixels.
type decoding struct {
	background background
	orient     bool    // turn pictures as their EXIF orientation says
	turbo      bool    // decode jpeg with libjpeg-turbo, which is there
	memory     *memory // for one picture at a time
}

// decode decodes a picture file. A panic in a decoder, which hostile files have
// provoked in the past, is an error like any other.
func (d decoding) decode(file []byte) (p picture, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the decoder failed: %v", r)
		}
	}()
	p, ok := d.decodeFast(file)
	if !ok {
		p, err = d.decodeImage(file)
	}
	if err == nil && d.orient {
		p = p.turned(orientation(file))
	}
	return p, err
}

// decodeFast decodes what there is a faster way for than Go's decoders.
func (d decoding) decodeFast(file []byte) (p picture, ok bool) {
	switch {
	case d.turbo && isJPEG(file):
		return d.decodeTurbo(file)
	case bytes.HasPrefix(file, []byte(pngSignature)):
		return d.decodePNG(file)
	}
	return picture{}, false
}

// decodeImage decodes with Go's decoders.
func (d decoding) decodeImage(file []byte) (p picture, err error) {
	config, format, err := decodeConfig(d.memory.open(file))
	if err != nil {
		return picture{}, err
	}
	img, _, err := image.Decode(d.memory.open(file))
	if err != nil {
		return picture{}, fmt.Errorf("corrupt %s: %w", format, lastByte(err))
	}
	if p, err = d.toPicture(img, format); err != nil {
		return picture{}, err
	}
	switch format {
	case "gif":
		p = d.background.canvas(p, img.Bounds().Min, config.Width, config.Height)
	case "png":
		p.palette = p.palette || isBilevel(file)
	}
	return p, nil
}

// decodeConfig reads a picture's header and checks that its size can be decoded.
func decodeConfig(r io.Reader) (image.Config, string, error) {
	config, format, err := image.DecodeConfig(r)
	switch {
	case errors.Is(err, image.ErrFormat):
		return config, "", errNotAPicture
	case err != nil && format == "":
		return config, "", fmt.Errorf("%w: %w", errNotAPicture, lastByte(err))
	case err != nil:
		return config, "", fmt.Errorf("corrupt %s: %w", format, lastByte(err))
	case config.Width < 1 || config.Height < 1:
		return config, "", fmt.Errorf("%s of %d x %d pixels", format, config.Width, config.Height)
	case config.Width > maxPixels/config.Height:
		return config, "", fmt.Errorf("%s of %d x %d pixels: more than %d are not decoded", format, config.Width, config.Height, maxPixels)
	}
	return config, format, nil
}

// lastByte says what an end of file means to whoever reads the message.
func lastByte(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the file ends too early")
	}
	return err
}

// canvas puts the first frame of a gif, whose corner is at, on its screen.
func (bg background) canvas(p picture, at image.Point, w, h int) picture {
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
