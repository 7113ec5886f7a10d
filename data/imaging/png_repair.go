package imaging

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
)

// Pillow stops reading a png after its last pixel: the rest may be missing or damaged.
// image/png reads all chunks. So if image/png fails, the file is rebuilt from its
// header and its pixels, provided that all pixels are intact.

// repairPNG returns the rebuilt file, or false if pixels are missing or damaged.
func repairPNG(file []byte) ([]byte, bool) {
	head, pixels, ok := splitPNG(file)
	if !ok {
		return nil, false
	}
	size := pngRawSize(head[len(pngSignature)+8:])
	z, err := zlib.NewReader(bytes.NewReader(pixels))
	if err != nil {
		return nil, false
	}
	var packed bytes.Buffer
	w, err := zlib.NewWriterLevel(&packed, zlib.BestSpeed)
	if err != nil {
		return nil, false
	}
	if n, err := io.Copy(w, io.LimitReader(z, size)); n != size || err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, false
	}
	if _, err := z.Read(make([]byte, 1)); errors.Is(err, zlib.ErrChecksum) {
		return nil, false
	}
	if err := w.Close(); err != nil {
		return nil, false
	}
	out := bytes.Clone(head)
	out = appendPNGChunk(out, "IDAT", packed.Bytes())
	return appendPNGChunk(out, "IEND", nil), true
}

// splitPNG returns a png up to its first IDAT chunk, IHDR included, and the bodies of
// the IDAT chunks, whatever their checksums.
func splitPNG(file []byte) (head, pixels []byte, ok bool) {
	const header = len(pngSignature) + 8 + 13 + 4
	if len(file) < header || string(file[len(pngSignature)+4:len(pngSignature)+8]) != "IHDR" {
		return nil, nil, false
	}
	for at := len(pngSignature); len(file)-at >= 8; {
		n := int(min(uint64(binary.BigEndian.Uint32(file[at:])), uint64(len(file)-at-8)))
		switch isPixels := string(file[at+4:at+8]) == "IDAT"; {
		case isPixels:
			if head == nil {
				head = file[:at]
			}
			pixels = append(pixels, file[at+8:at+8+n]...)
		case head != nil:
			return head, pixels, len(head) >= header
		}
		at = min(at+8+n+4, len(file))
	}
	return head, pixels, len(head) >= header
}

// pngRawSize returns the uncompressed size, in bytes, of the pixels of an image with this
// IHDR chunk: for each interlacing pass and row a filter byte and the pixels.
func pngRawSize(ihdr []byte) int64 {
	w, h := int64(binary.BigEndian.Uint32(ihdr)), int64(binary.BigEndian.Uint32(ihdr[4:]))
	depth, channels := int64(ihdr[8]), int64(1)
	switch ihdr[9] {
	case pngRGB:
		channels = 3
	case pngGreyAlpha:
		channels = 2
	case pngRGBA:
		channels = 4
	}
	passes := []struct{ x, y, dx, dy int64 }{{0, 0, 1, 1}}
	if ihdr[12] == 1 {
		passes = []struct{ x, y, dx, dy int64 }{{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4}, {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}}
	}
	var size int64
	for _, p := range passes {
		columns, rows := (w-p.x+p.dx-1)/p.dx, (h-p.y+p.dy-1)/p.dy
		if columns > 0 && rows > 0 {
			size += rows * (1 + (columns*channels*depth+7)/8)
		}
	}
	return size
}

func appendPNGChunk(b []byte, name string, body []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(body)))
	at := len(b)
	b = append(append(b, name...), body...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[at:]))
}
