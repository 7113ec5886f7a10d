package storage

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// An unreadable file and a truncated file have different errors.
func TestUnreadableLocalFile(t *testing.T) {
	dir := t.TempDir()
	if _, err := openLocal(dir); !errors.Is(err, syscall.EISDIR) || !strings.Contains(err.Error(), dir) || strings.Contains(err.Error(), "lost its end") {
		t.Errorf("a folder: %v", err)
	}
	path := filepath.Join(dir, "file")
	if err := os.WriteFile(path, []byte("short"), 0o666); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	const want = "it was truncated to 5 of 8 bytes"
	if err := (&localFile{File: file, size: 8}).sum(); err == nil || err.Error() != want {
		t.Errorf("a file that shrank: %v, want %s", err, want)
	}
}
