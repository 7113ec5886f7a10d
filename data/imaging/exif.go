package imaging

import (
	"bytes"
	"encoding/binary"
)

// orientation returns the EXIF orientation (1..8) of a jpeg, png or webp file, or 1
// if there is none or if the EXIF data is unreadable.
func orientation(file []byte) int {
	return tiffOrientation(exifOf(file))
}

// exifOf returns the TIFF structure with an image's EXIF data, or nil.
func exifOf(file []byte) []byte {
	switch {
	case bytes.HasPrefix(file, []byte("\xff\xd8")):
		return jpegExif(file[2:])
	case bytes.HasPrefix(file, []byte("\x89PNG\r\n\x1a\n")):
		return chunk(file[8:], "eXIf", binary.BigEndian, 4, 4)
	case len(file) > 12 && string(file[:4]) == "RIFF" && string(file[8:12]) == "WEBP":
		exif := chunk(file[12:], "EXIF", binary.LittleEndian, 0, 0)
		return bytes.TrimPrefix(exif, []byte("Exif\x00\x00"))
	}
	return nil
}

// jpegExif searches the segments before the image data.
func jpegExif(b []byte) []byte {
	for len(b) >= 4 && b[0] == 0xff && b[1] != 0xda {
		n := int(binary.BigEndian.Uint16(b[2:]))
		if n < 2 || len(b) < 2+n {
			return nil
		}
		body := b[4 : 2+n]
		if exif, ok := bytes.CutPrefix(body, []byte("Exif\x00\x00")); ok && b[1] == 0xe1 {
			return exif
		}
		b = b[2+n:]
	}
	return nil
}

// chunk finds a chunk by name in a png (length, name, body, checksum: the name is
// at 4, the trailer 4 bytes) or a RIFF file (name, length, body padded to even).
func chunk(b []byte, name string, order binary.ByteOrder, nameAt, trailer int) []byte {
	for len(b) >= 8 {
		n := int64(order.Uint32(b[4-nameAt:]))
		if int64(len(b)-8) < n {
			return nil
		}
		if string(b[nameAt:nameAt+4]) == name {
			return b[8 : 8+n]
		}
		if trailer == 0 {
			n += n & 1
		}
		b = b[min(8+n+int64(trailer), int64(len(b))):]
	}
	return nil
}

// tiffOrientation reads tag 0x0112 of the first directory.
func tiffOrientation(b []byte) int {
	const tag, short = 0x0112, 3
	var order binary.ByteOrder
	switch {
	case bytes.HasPrefix(b, []byte("II*\x00")):
		order = binary.LittleEndian
	case bytes.HasPrefix(b, []byte("MM\x00*")):
		order = binary.BigEndian
	default:
		return 1
	}
	if len(b) < 8 {
		return 1
	}
	at := int64(order.Uint32(b[4:]))
	if at+2 > int64(len(b)) {
		return 1
	}
	entries := b[at+2:]
	for range order.Uint16(b[at:]) {
		if len(entries) < 12 {
			break
		}
		if order.Uint16(entries) == tag && order.Uint16(entries[2:]) == short {
			if v := int(order.Uint16(entries[8:])); v >= 1 && v <= 8 {
				return v
			}
		}
		entries = entries[12:]
	}
	return 1
}
