package pt

import (
	"archive/zip"
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"testing"
)

// sparse is a file that turns blocks of zeros into holes.
type sparse struct {
	*os.File
	zeros []byte
}

func (s *sparse) Write(b []byte) (int, error) {
	if len(b) != len(s.zeros) || &b[0] != &s.zeros[0] {
		return s.File.Write(b)
	}
	_, err := s.Seek(int64(len(b)), 1)
	return len(b), err
}

// TestReadBeyond4GiB reads a file beyond 4 GiB, with sizes and offsets in zip64 fields. It
// must read only the tensors, not the hole between them.
func TestReadBeyond4GiB(t *testing.T) {
	path := filepath.Join(t.TempDir(), "large.pt")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const hole = 4100 << 20
	file := &sparse{f, make([]byte, 1<<20)}
	z := zip.NewWriter(file)
	w, err := z.CreateRaw(&zip.FileHeader{Name: "archive/hole", CompressedSize64: hole, UncompressedSize64: hole})
	if err != nil {
		t.Fatal(err)
	}
	if err := z.Flush(); err != nil { // so that zeros are written in whole blocks
		t.Fatal(err)
	}
	for range hole >> 20 {
		if _, err := w.Write(file.zeros); err != nil {
			t.Fatal(err)
		}
	}
	small := written(t, checkpoint())
	from, err := zip.NewReader(bytes.NewReader(small), int64(len(small)))
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range from.File {
		if err := z.Copy(entry); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if info, err := f.Stat(); err != nil || info.Size() < hole {
		t.Fatalf("%d bytes, %v", info.Size(), err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	got, err := ReadFile(path)
	runtime.ReadMemStats(&after)
	if err != nil || !reflect.DeepEqual(got, checkpoint()) {
		t.Errorf("read %v, %v", got, err)
	}
	if taken := after.TotalAlloc - before.TotalAlloc; taken > 1<<20 {
		t.Errorf("reading allocated %d bytes", taken)
	}
}

// TestManyStorages has more than 65535 entries, which need zip64.
func TestManyStorages(t *testing.T) {
	d := &Dict{}
	for i := range 66_000 {
		d.Set(i, &Tensor{Int8, []int64{1}, []byte{byte(i)}})
	}
	got, err := readBytes(written(t, d))
	if err != nil || !reflect.DeepEqual(got, d) {
		t.Errorf("%v", err)
	}
}

// TestReadMemory checks that reading allocates the tensors' size once, and little more.
func TestReadMemory(t *testing.T) {
	d, size := &Dict{}, 0
	for i := range 8 {
		x := &Tensor{Float32, []int64{1 << 20}, make([]byte, 4<<20)}
		d.Set(i, x)
		size += len(x.Data)
	}
	file := written(t, d)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	got, err := readBytes(file)
	runtime.ReadMemStats(&after)
	if err != nil {
		t.Fatal(err)
	}
	if taken := after.TotalAlloc - before.TotalAlloc; taken > uint64(size+size/20) {
		t.Errorf("reading %d bytes of tensors allocated %d bytes", size, taken)
	}
	runtime.KeepAlive(got)
}
