package checkpoint

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/wangkuiyi/gotorch/pt"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// A run whose newest checkpoint is damaged is used from an older one, and the log says so.
func TestLoadOfDamagedNewest(t *testing.T) {
	run := t.TempDir()
	file := func(step string) string { return filepath.Join(run, Dir, "ckpt-"+step+".pt") }
	if err := os.Mkdir(filepath.Join(run, Dir), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := pt.WriteFile(file("000001"), tinyWeights(t)); err != nil {
		t.Fatal(err)
	}
	for _, newest := range []string{"", "000002"} {
		if newest != "" {
			if err := os.WriteFile(file(newest), []byte("damaged"), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		c, err := Load(run)
		if err != nil {
			t.Fatal(err)
		}
		core, logs := observer.New(zapcore.WarnLevel)
		c.LogOrigin(zap.New(core))
		if warned := logs.Len() == 1; c.Path != file("000001") || warned != (newest != "") {
			t.Errorf("with %q: loaded %s, the log says %v", newest, c.Path, logs.All())
		}
	}
}
