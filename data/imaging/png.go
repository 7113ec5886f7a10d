package imaging

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
)

// image/png allocates a decompressor, an image and a copy of it for every file. For
// files as small as training images this takes as long as the decompression. So the
// most common kind of file, with 8 bits per channel and not interlaced, is decoded here
// into reused memory. All other files, and files with any irregularity, are left to
// image/png, which decides whether a file is corrupt.

// The colour types of a png.
const (
	pngGrey, pngRGB, pngPalette, pngGreyAlpha, pngRGBA = 0, 2, 3, 4, 6
)

const pngSignature = "\x89PNG\r\n\x1a\n"

// pngFile holds the parts of a file that decoding needs.
type pngFile struct {
	w, h     int
	colour   byte
	channels int    // bytes per pixel
	palette  []byte // RGB RGB ...
	alpha    []byte // of the palette's first colours
	pixels   []byte // compressed
}

// decodePNG decodes the common kind of png. ok is false for files that image/png has to
// decode.
func (d Decoder) decodePNG(file []byte) (p Image, ok bool) {
	f, ok := parsePNG(d.Memory, file)
	if !ok {
		return Image{}, false
	}
	stride := f.w * f.channels
	rows := d.Memory.Take(f.h * (1 + stride))
	if err := d.Memory.inflate(rows, f.pixels); err != nil {
		return Image{}, false
	}
	pix := d.Memory.Take(f.h * stride)
	above := d.Memory.Take(stride)
	clear(above)
	for y := range f.h {
		row := pix[y*stride : (y+1)*stride]
		if !unfilter(row, rows[y*(1+stride)+1:], above, rows[y*(1+stride)], f.channels) {
			return Image{}, false
		}
		above = row
	}
	return d.fromPNG(f, pix), true
}

// parsePNG reads the chunks and verifies their checksums.
func parsePNG(m *Memory, file []byte) (f pngFile, ok bool) {
	if !bytes.HasPrefix(file, []byte(pngSignature)) {
		return f, false
	}
	first, runs := true, 0
	for rest, last := file[len(pngSignature):], ""; ; first = false {
		name, body, after, ok := pngChunkOf(rest)
		if !ok || first != (name == "IHDR") {
			return f, false
		}
		switch name {
		case "IHDR":
			if !f.header(body) {
				return f, false
			}
		case "PLTE", "tRNS":
			if runs > 0 || !f.addPalette(name, body) {
				return f, false
			}
		case "IDAT":
			if last != "IDAT" {
				runs++
			}
			f.addPixels(m, body)
		case "IEND":
			return f, runs == 1 && len(body) == 0 && (f.colour != pngPalette || f.palette != nil)
		}
		rest, last = after, name
	}
}

// pngChunkOf splits off a chunk: length, name, body, checksum of both.
func pngChunkOf(b []byte) (name string, body, after []byte, ok bool) {
	if len(b) < 12 {
		return "", nil, nil, false
	}
	n := binary.BigEndian.Uint32(b)
	if uint64(n) > uint64(len(b)-12) {
		return "", nil, nil, false
	}
	end := 8 + int(n)
	if crc32.ChecksumIEEE(b[4:end]) != binary.BigEndian.Uint32(b[end:]) {
		return "", nil, nil, false
	}
	return string(b[4:8]), b[8:end], b[end+4:], true
}

// header reads IHDR and reports whether the file is of the common kind.
func (f *pngFile) header(b []byte) bool {
	if len(b) != 13 {
		return false
	}
	w, h := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
	if w < 1 || h < 1 || uint64(w)*uint64(h) > MaxPixels || !bytes.Equal(b[10:13], []byte{0, 0, 0}) || b[8] != 8 {
		return false
	}
	f.w, f.h, f.colour = int(w), int(h), b[9]
	switch f.colour {
	case pngGrey, pngPalette:
		f.channels = 1
	case pngGreyAlpha:
		f.channels = 2
	case pngRGB:
		f.channels = 3
	case pngRGBA:
		f.channels = 4
	}
	return f.channels > 0
}

// addPixels appends an IDAT chunk; a single one is not copied.
func (f *pngFile) addPixels(m *Memory, body []byte) {
	if f.pixels == nil {
		f.pixels = body
		return
	}
	joined := m.Take(len(f.pixels) + len(body))
	copy(joined[copy(joined, f.pixels):], body)
	f.pixels = joined
}

// addPalette reads PLTE and tRNS. In files without a palette these chunks mean a
// suggested palette, or the transparent colour.
func (f *pngFile) addPalette(name string, body []byte) bool {
	const most = 256
	n := len(body)
	switch {
	case f.colour != pngPalette:
		return false
	case name == "PLTE":
		f.palette, n = body, n/3
		return n >= 1 && n <= most && len(body) == 3*n && f.alpha == nil
	}
	f.alpha = body
	return n <= len(f.palette)/3
}

// inflater is a reusable zlib decompressor.
type inflater struct {
	source bytes.Reader
	zlib   io.ReadCloser
}

// inflate decompresses a stream of exactly len(dst) bytes and verifies its checksum.
func (m *Memory) inflate(dst, compressed []byte) (err error) {
	z := &inflater{}
	if m != nil {
		z = &m.inflater
	}
	z.source.Reset(compressed)
	defer z.source.Reset(nil)
	if z.zlib == nil {
		z.zlib, err = zlib.NewReader(&z.source)
	} else {
		err = z.zlib.(zlib.Resetter).Reset(&z.source, nil)
	}
	if err != nil {
		return err
	}
	if _, err := io.ReadFull(z.zlib, dst); err != nil {
		return err
	}
	var more [1]byte
	if n, err := z.zlib.Read(more[:]); n > 0 || err != io.EOF || z.source.Len() > 0 {
		return errors.New("too many pixels, or a wrong checksum")
	}
	return nil
}

// unfilter undoes the prediction of a row from the previous pixel, bpp bytes before,
// and from the row above. It reports whether the filter exists.
func unfilter(dst, src, above []byte, filter byte, bpp int) bool {
	src, above = src[:len(dst)], above[:len(dst)]
	switch filter {
	case 0:
		copy(dst, src)
	case 1:
		copy(dst[:bpp], src)
		for i := bpp; i < len(dst); i++ {
			dst[i] = src[i] + dst[i-bpp]
		}
	case 2:
		for i, v := range src {
			dst[i] = v + above[i]
		}
	case 3:
		for i := range bpp {
			dst[i] = src[i] + above[i]/2
		}
		for i := bpp; i < len(dst); i++ {
			dst[i] = src[i] + byte((int(dst[i-bpp])+int(above[i]))/2)
		}
	case 4:
		for channel := range bpp {
			unfilterPaeth(dst[channel:], src[channel:], above[channel:], bpp)
		}
	default:
		return false
	}
	return true
}

// unfilterPaeth undoes Paeth's prediction in every bpp-th byte: by whichever of
// left, above and above left is nearest to left + above - above left.
func unfilterPaeth(dst, src, above []byte, bpp int) {
	var left, corner int
	src, above = src[:len(dst)], above[:len(dst)]
	for i := 0; i < len(dst); i += bpp {
		up := int(above[i])
		toUp := left - corner // prediction minus up
		toLeft := up - corner
		toCorner := magnitude(toLeft + toUp)
		nearest, best := left, magnitude(toLeft)
		if d := magnitude(toUp); d < best {
			nearest, best = up, d
		}
		if toCorner < best {
			nearest = corner
		}
		left = int(src[i] + byte(nearest))
		dst[i] = byte(left)
		corner = up
	}
}

func magnitude(v int) int {
	sign := v >> 63
	return (v ^ sign) - sign
}

// fromPNG converts unfiltered pixels to an image.
func (d Decoder) fromPNG(f pngFile, pix []byte) Image {
	switch f.colour {
	case pngRGBA:
		return fromStraight(d.Memory, f.w, f.h, pix, 4*f.w, 4, d.Background)
	case pngGreyAlpha:
		wide := d.Memory.Take(4 * f.w * f.h)
		for i := range f.w * f.h {
			v, a := pix[2*i], pix[2*i+1]
			copy(wide[4*i:4*i+4], []byte{v, v, v, a})
		}
		return fromStraight(d.Memory, f.w, f.h, wide, 4*f.w, 4, d.Background)
	case pngPalette:
		return d.fromPNGPalette(f, pix)
	}
	return Image{w: f.w, h: f.h, c: f.channels, pix: pix, memory: d.Memory}
}

func (d Decoder) fromPNGPalette(f pngFile, indices []byte) Image {
	colours := newColourTable()
	for i := range len(f.palette) / 3 {
		alpha := byte(255)
		if i < len(f.alpha) {
			alpha = f.alpha[i]
		}
		colours.set(d.Background, i, f.palette[3*i:3*i+3], alpha)
	}
	return colours.img(d.Memory, f.w, f.h, indices, f.w)
}
