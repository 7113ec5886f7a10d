package imaging

import (
	"bufio"
	"bytes"
	"fmt"
	"io"

	"iddpm/data/imaging/turbojpeg"
)

// Memory holds the buffers for decoding and preprocessing one image. The next image
// reuses them; otherwise the garbage collector would run every few images. A nil
// Memory allocates every buffer. Only one goroutine may use it at a time.
type Memory struct {
	file     bytes.Buffer
	source   bytes.Reader
	reader   *bufio.Reader
	buffers  [][]byte
	taken    int
	jpeg     *turbojpeg.Decoder
	inflater inflater
}

// maxFile bounds the bytes of one encoded image.
const maxFile = 1 << 28

// keptBuffer bounds the size of a buffer that is kept for the next image.
const keptBuffer = 16 << 20

// Take returns n uninitialised bytes, valid until Reset.
func (m *Memory) Take(n int) []byte {
	if m == nil {
		return make([]byte, n)
	}
	if m.taken == len(m.buffers) {
		m.buffers = append(m.buffers, nil)
	}
	b := &m.buffers[m.taken]
	m.taken++
	if cap(*b) < n {
		*b = make([]byte, n)
	}
	return (*b)[:n]
}

// Reset makes all buffers reusable.
func (m *Memory) Reset() {
	for i, b := range m.buffers {
		if cap(b) > keptBuffer {
			m.buffers[i] = nil
		}
	}
	m.taken = 0
	if m.file.Cap() > keptBuffer {
		m.file = bytes.Buffer{}
	}
	m.source.Reset(nil)
}

// readFile reads a whole file, up to the limit on one.
func (m *Memory) readFile(r io.Reader) ([]byte, error) {
	if m == nil {
		return ReadFile(r)
	}
	m.file.Reset()
	if _, err := m.file.ReadFrom(io.LimitReader(r, maxFile+1)); err != nil {
		return nil, err
	}
	return m.file.Bytes(), checkFileSize(m.file.Len())
}

// ReadFile reads a whole file, up to the limit on one.
func ReadFile(r io.Reader) ([]byte, error) {
	file, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return nil, err
	}
	return file, checkFileSize(len(file))
}

func checkFileSize(n int) error {
	if n > maxFile {
		return fmt.Errorf("the file is larger than %d bytes", maxFile)
	}
	return nil
}

// open returns a reader of a file's bytes that image.Decode does not buffer again.
func (m *Memory) open(file []byte) io.Reader {
	if m == nil {
		return bytes.NewReader(file)
	}
	m.source.Reset(file)
	if m.reader == nil {
		m.reader = bufio.NewReader(&m.source)
	}
	m.reader.Reset(&m.source)
	return m.reader
}

// turbo returns libjpeg-turbo's decoder.
func (m *Memory) turbo() (d *turbojpeg.Decoder, err error) {
	if m == nil {
		return turbojpeg.NewDecoder()
	}
	if m.jpeg == nil {
		m.jpeg, err = turbojpeg.NewDecoder()
	}
	return m.jpeg, err
}
