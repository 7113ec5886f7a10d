package parquet

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/format"
	"github.com/pierrec/lz4/v4"
)

// maxPage bounds a decompressed page, in bytes. Writers aim at 1 MiB, but Arrow counts
// only after every 1,024 values, which may be images.
const maxPage = 1 << 29

// decompress returns the n bytes that compressed holds, and fails if they are fewer or
// more. It allocates in proportion to what it decompresses, not to what a header claims.
func decompress(codec format.CompressionCodec, compressed []byte, n int) ([]byte, error) {
	var out []byte
	var err error
	switch codec {
	case format.Uncompressed:
		out = compressed
	case format.Snappy:
		out, err = decompressBlock(snappyBlock, 32, compressed, n)
	case format.Lz4Raw:
		out, err = decompressBlock(lz4.UncompressBlock, 256, compressed, n)
	case format.Gzip:
		out, err = decompressStream(func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) }, compressed, n)
	case format.Brotli:
		out, err = decompressStream(func(r io.Reader) (io.Reader, error) { return brotli.NewReader(r), nil }, compressed, n)
	case format.Zstd:
		out, err = decompressZstd(compressed, n)
	default:
		return nil, fmt.Errorf("compression by %v is not supported: write it with snappy, gzip, zstd, brotli, LZ4_RAW or none", codec)
	}
	if err != nil {
		return nil, fmt.Errorf("corrupt %v data: %w", codec, err)
	}
	if len(out) != n {
		return nil, fmt.Errorf("a page has %d bytes, and its header says %d", len(out), n)
	}
	return out, nil
}

// decompressBlock decompresses a format whose output is at most ratio times its input.
func decompressBlock(decode func(src, dst []byte) (int, error), ratio int, compressed []byte, n int) ([]byte, error) {
	if n > ratio*(len(compressed)+1) {
		return nil, fmt.Errorf("%d bytes cannot hold %d", len(compressed), n)
	}
	out := make([]byte, n)
	m, err := decode(compressed, out)
	if err != nil {
		return nil, err
	}
	return out[:m], nil
}

func snappyBlock(src, dst []byte) (int, error) {
	n, err := snappy.DecodedLen(src)
	if err != nil || n != len(dst) {
		return 0, fmt.Errorf("it says that it holds %d bytes: %w", n, snappy.ErrCorrupt)
	}
	_, err = snappy.Decode(dst, src)
	return n, err
}

func decompressStream(open func(io.Reader) (io.Reader, error), compressed []byte, n int) ([]byte, error) {
	r, err := open(bytes.NewReader(compressed))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(r, int64(n)+1))
}

// zstdDecoders are decoders that no page uses: a new one takes megabytes. They have no goroutines
// that would outlive them.
var zstdDecoders sync.Pool

func decompressZstd(compressed []byte, n int) ([]byte, error) {
	d, ok := zstdDecoders.Get().(*zstd.Decoder)
	if !ok {
		var err error
		if d, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxPage), zstd.WithDecoderMaxWindow(maxPage)); err != nil {
			return nil, err
		}
	}
	defer zstdDecoders.Put(d)
	if err := d.Reset(bytes.NewReader(compressed)); err != nil {
		return nil, err
	}
	out, err := io.ReadAll(io.LimitReader(d, int64(n)+1))
	return out, errors.Join(err, d.Reset(nil)) // keeps no page
}
