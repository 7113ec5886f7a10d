package storage

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// What cannot be read, and what has become shorter, are two causes.
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
	const want = "it has lost its end, and has 5 bytes of 8"
	if err := (&localFile{File: file, size: 8}).sum(); err == nil || err.Error() != want {
		t.Errorf("a file that shrank: %v, want %s", err, want)
	}
}
