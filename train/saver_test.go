package train

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/wangkuiyi/gotorch/pt"
	"go.uber.org/zap"
)

// A save creates a removed checkpoint folder again.
func TestSaverFolderRemoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run", checkpointDir, "ckpt-000002.pt")
	s := saver{log: zap.NewNop()}
	s.start(path, &pt.Dict{}, true)
	if err := s.wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil || s.safe != path {
		t.Errorf("%v, safe %q", err, s.safe)
	}
}
