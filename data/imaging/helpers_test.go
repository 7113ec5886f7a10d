package imaging

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"hash/crc32"
)

// pngChunk returns a chunk with its checksum.
func pngChunk(name, body string) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(body)))
	b = append(b, name+body...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE([]byte(name+body)))
}

// deflated compresses bytes as png and zlib do.
func deflated(b []byte) []byte {
	var out bytes.Buffer
	z := zlib.NewWriter(&out)
	if _, err := z.Write(b); err != nil {
		panic(err)
	}
	if err := z.Close(); err != nil {
		panic(err)
	}
	return out.Bytes()
}

// hugePNG is a png whose header declares 4e12 pixels.
func hugePNG() []byte {
	b := []byte("\x89PNG\r\n\x1a\n")
	return append(b, pngChunk("IHDR", "\x00\x1e\x84\x80\x00\x1e\x84\x80\x08\x02\x00\x00\x00")...)
}
