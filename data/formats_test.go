package data

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestNamesWhatToOpen: an error says which path there is instead.
func TestNamesWhatToOpen(t *testing.T) {
	dir := t.TempDir()
	raw := filepath.Join(dir, "MNIST", "raw") // as torchvision leaves it
	if err := os.MkdirAll(raw, 0o755); err != nil {
		t.Fatal(err)
	}
	odd := filepath.Join(dir, "odd.parquet")
	for _, file := range []string{filepath.Join(raw, "train-images-idx3-ubyte"), odd} {
		if err := os.WriteFile(file, []byte("not what its name says"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for path, says := range map[string]string{
		filepath.Join(dir, "MNIST"):                      ": name " + raw,
		filepath.Join(dir, "shard-{000000..000003}.tar"): "name the folder of the shards",
		filepath.Join(dir, "*.tar"):                      "name the folder of the shards",
		odd:                                              odd + ": not a readable Parquet file",
	} {
		if _, err := Open(path, Options{}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", path, err, says)
		}
	}
}
