package train

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/wangkuiyi/gotorch/pt"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"iddpm/checkpoint"
)

// TestSaverFolderRemoved: a save creates its folder, and warns if the folder of an earlier save has been removed.
func TestSaverFolderRemoved(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run", checkpoint.Dir)
	core, logs := observer.New(zap.WarnLevel)
	s := saver{log: zap.New(core)}
	for warnings, name := range []string{"ckpt-000002.pt", "ckpt-000004.pt"} {
		path := filepath.Join(dir, name)
		s.start(path, &pt.Dict{}, true)
		if err := s.wait(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(path); err != nil || s.safe != path || logs.Len() != warnings {
			t.Errorf("%v, safe %q, %d warnings, want %d", err, s.safe, logs.Len(), warnings)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
}
