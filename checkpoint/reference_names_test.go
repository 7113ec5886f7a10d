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

// The log warns of an EMA file whose decay rate is not configured, for any name of the folder.
func TestReferenceWarnsOfOtherEMAs(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "[theirs]")
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ema_0.5_000003.pt", "ema_0.9_000003.pt", "ema_0.9_000004.pt"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	core, logs := observer.New(zapcore.WarnLevel)
	warnOfOthers(&Checkpoint{Path: filepath.Join(dir, "model000003.pt"), Step: 3, EMA: map[string]*pt.Dict{"0.5": nil}}, zap.New(core))
	if all := logs.All(); len(all) != 1 || all[0].ContextMap()["file"] != filepath.Join(dir, "ema_0.9_000003.pt") {
		t.Errorf("the log says %v", all)
	}
}
