package imaging

import (
	"bytes"
	"encoding/binary"
	"errors"
	"image"
	"io"

	"github.com/jsummers/gobmp"
)

// Compression methods of BMP.
const (
	bmpRLE8      = 1
	bmpRLE4      = 2
	bmpBitFields = 3
)

// decodeBMP decodes a bmp of any kind: run lengths, bit fields and OS/2's headers
// included.
func (d Decoder) decodeBMP(file []byte, config image.Config) (Image, error) {
	source := &exhausted{r: io.MultiReader(d.Memory.open(file), bytes.NewReader(make([]byte, bmpPadding(file, config))))}
	img, err := gobmp.Decode(source)
	if err == nil && source.asked {
		err = io.ErrUnexpectedEOF // gobmp ignores it in run lengths
	}
	if err != nil {
		return Image{}, decodeError("bmp", err, d.Turbo)
	}
	if img, ok := img.(*image.NRGBA); ok {
		expandBMP(img.Pix, bmpBits(file))
	}
	p, err := d.toImage(img, "bmp")
	if img, ok := img.(*image.Paletted); ok {
		p.palette = !isGreyRamp(img.Palette)
	}
	return p, err
}

// exhausted records whether a read went past the end.
type exhausted struct {
	r     io.Reader
	asked bool
}

func (e *exhausted) Read(b []byte) (int, error) {
	n, err := e.r.Read(b)
	e.asked = e.asked || errors.Is(err, io.EOF) && len(b) > 0
	return n, err
}

// bmpDepth returns the bits per pixel of a bmp's header, or 0 if the header is truncated.
func bmpDepth(file []byte) int {
	switch {
	case len(file) < 30:
		return 0
	case binary.LittleEndian.Uint32(file[14:]) == 12: // OS/2 1.x
		return int(binary.LittleEndian.Uint16(file[24:]))
	}
	return int(binary.LittleEndian.Uint16(file[28:]))
}

// bmpCompression returns the compression method of a bmp's header.
func bmpCompression(file []byte) uint32 {
	const at = 30
	if len(file) < at+4 || binary.LittleEndian.Uint32(file[14:]) == 12 {
		return 0
	}
	return binary.LittleEndian.Uint32(file[at:])
}

// bmpPadding returns the number of padding bytes per row. Some files lack them after
// the last row; Pillow accepts that.
func bmpPadding(file []byte, config image.Config) int {
	if c := bmpCompression(file); c == bmpRLE8 || c == bmpRLE4 {
		return 0
	}
	bytes := (config.Width*bmpDepth(file) + 7) / 8
	return -bytes & 3
}

// bmpBits returns the number of bits of red, green and blue in a 16-bit bmp; zeros for
// other files.
func bmpBits(file []byte) (bits [3]int) {
	const masksAt = 54
	if bmpDepth(file) != 16 {
		return bits
	}
	if len(file) < masksAt+12 || bmpCompression(file) != bmpBitFields {
		return [3]int{5, 5, 5}
	}
	for i := range bits {
		for mask := binary.LittleEndian.Uint32(file[masksAt+4*i:]); mask != 0; mask &= mask - 1 {
			bits[i]++
		}
	}
	return bits
}

// expandBMP corrects RGBA pixels of fewer than 8 bits: gobmp rounds them to the nearest
// of 256 levels, Pillow rounds down.
func expandBMP(pix []byte, bits [3]int) {
	for channel, n := range bits {
		if n < 1 || n > 7 {
			continue
		}
		most := 1<<n - 1
		var levels [256]byte
		for v := range most + 1 {
			levels[(v*255+most/2)/most] = byte(v * 255 / most)
		}
		for i := channel; i < len(pix); i += 4 {
			pix[i] = levels[pix[i]]
		}
	}
}
