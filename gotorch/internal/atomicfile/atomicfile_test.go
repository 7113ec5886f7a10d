package atomicfile

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestWriteReplaces(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	for _, content := range []string{"first", "second, longer"} {
		err := Write(path, func(w io.Writer) error {
			_, err := io.WriteString(w, content)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != content {
			t.Fatalf("got %q, %v, want %q", got, err, content)
		}
	}
}

func TestWriteFailureLeavesOldFileAlone(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	if err := os.WriteFile(path, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	err := Write(path, func(w io.Writer) error {
		// More than the buffer, so that some of it reaches the file.
		if _, err := w.Write(make([]byte, 1<<20)); err != nil {
			return err
		}
		return broken
	})
	if !errors.Is(err, broken) {
		t.Fatalf("got error %v, want %v", err, broken)
	}
	if got, _ := os.ReadFile(path); string(got) != "old" {
		t.Fatalf("the old file now holds %d bytes", len(got))
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Fatalf("%d files in the folder (%v), want the old one alone", len(entries), err)
	}
}

func TestWriteMissingFolder(t *testing.T) {
	err := Write(filepath.Join(t.TempDir(), "no", "f"), func(io.Writer) error { return nil })
	if !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("got %v, want a missing folder", err)
	}
}

// TestFailingSync fails the file's sync, and then the folder's.
func TestFailingSync(t *testing.T) {
	for failing, want := range map[int]string{1: "old", 2: "new"} {
		dir := t.TempDir()
		path := filepath.Join(dir, "f")
		if err := os.WriteFile(path, []byte("old"), 0o644); err != nil {
			t.Fatal(err)
		}
		calls := 0
		err := write(path, func(w io.Writer) error {
			_, err := io.WriteString(w, "new")
			return err
		}, func(f *os.File) error {
			if calls++; calls == failing {
				return &os.PathError{Op: "sync", Path: f.Name(), Err: syscall.EIO}
			}
			return f.Sync()
		})
		if !errors.Is(err, syscall.EIO) {
			t.Errorf("sync %d fails: the error is %v", failing, err)
		}
		if got, _ := os.ReadFile(path); string(got) != want {
			t.Errorf("sync %d fails: the file holds %q, want %q", failing, got, want)
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
			t.Errorf("sync %d fails: %d files in the folder (%v)", failing, len(entries), err)
		}
	}
}

// TestUnsyncableFolder is a network file system's.
func TestUnsyncableFolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	err := write(path, func(io.Writer) error { return nil }, func(f *os.File) error {
		if info, err := f.Stat(); err == nil && info.IsDir() {
			return &os.PathError{Op: "sync", Path: f.Name(), Err: syscall.EINVAL}
		}
		return f.Sync()
	})
	if err != nil {
		t.Error(err)
	}
}
