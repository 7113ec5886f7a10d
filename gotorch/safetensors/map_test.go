package safetensors

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/wangkuiyi/gotorch/regularfile"
)

// TestMap checks that a mapped file has the content of one that is read, also after the file
// has been replaced.
func TestMap(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.safetensors")
	want := allTypes()
	if err := WriteFile(path, want); err != nil {
		t.Fatal(err)
	}
	m, err := Map(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(path, &File{}); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(m.Metadata, want.Metadata) || len(m.Tensors) != len(want.Tensors) {
		t.Errorf("got %v, want %v", m.File, want)
	}
	for _, tensor := range want.Tensors {
		if !reflect.DeepEqual(m.Get(tensor.Name), tensor.Tensor) {
			t.Errorf("%s: got %v, want %v", tensor.Name, m.Get(tensor.Name), tensor.Tensor)
		}
	}
	for range 2 {
		if err := m.Close(); err != nil || m.Tensors != nil {
			t.Errorf("closing: %v, left %v", err, m.Tensors)
		}
	}
}

func TestMapRefuses(t *testing.T) {
	dir := t.TempDir()
	for name, c := range hostile {
		path := filepath.Join(dir, strings.ReplaceAll(name, " ", "-"))
		if err := os.WriteFile(path, c.data, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Map(path); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got %v, want %q and the path", name, err, c.want)
		}
	}
	if _, err := Map(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	if wrong := (*regularfile.Error)(nil); !errors.As(func() error { _, err := Map(dir); return err }(), &wrong) {
		t.Error("a folder was mapped")
	}
}
