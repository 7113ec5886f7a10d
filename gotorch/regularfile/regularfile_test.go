package regularfile

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestOpen has one path of each kind; none may block.
func TestOpen(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(at("file"), []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(at("pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("unix", at("socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	for link, target := range map[string]string{"link": "file", "link to pipe": "pipe", "loose link": "nothing"} {
		if err := os.Symlink(at(target), at(link)); err != nil {
			t.Fatal(err)
		}
	}
	for path, kind := range map[string]string{
		at("file"): "", at("link"): "", dir: "a folder", at("pipe"): "a pipe", at("link to pipe"): "a pipe",
		at("socket"): "a socket", "/dev/zero": "a device", "/dev/null": "a device",
	} {
		text, err := Read(path)
		var wrong *Error
		switch {
		case kind == "" && (err != nil || string(text) != "text"):
			t.Errorf("%s: %q, %v", path, text, err)
		case kind != "" && (!errors.As(err, &wrong) || wrong.Kind != kind || wrong.Path != path):
			t.Errorf("%s: %v, want one that says it is %s", path, err, kind)
		}
	}
	for _, path := range []string{at("nothing"), at("loose link"), ""} {
		if _, err := Open(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q: %v", path, err)
		}
	}
}
