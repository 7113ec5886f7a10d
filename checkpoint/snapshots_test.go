package checkpoint

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wangkuiyi/gotorch/pt"

	"iddpm/internal/madeup"
	"iddpm/runconfig"
)

func TestReplacedSnapshots(t *testing.T) {
	all := func(n, stride int) (steps []int) {
		for i := range n {
			steps = append(steps, stride*(i+1))
		}
		return steps
	}
	for _, test := range []struct {
		o      runconfig.Options
		steps  []int
		newest int
		kept   []int
	}{
		{runconfig.Options{SaveInterval: 10}, all(50, 10), 500, all(50, 10)},                                                // without keep: all
		{runconfig.Options{SaveInterval: 10, Keep: 1}, all(20, 10), 200, all(20, 10)},                                       // few
		{runconfig.Options{SaveInterval: 10, Keep: 3}, all(21, 10), 210, append(all(10, 20), 190, 210)},                     // every other one, and the newest
		{runconfig.Options{SaveInterval: 10, Keep: 1}, all(30, 10), 250, append(all(12, 20), 250, 260, 270, 280, 290, 300)}, // and those of another branch
		{runconfig.Options{SaveInterval: 500, PowerEMAInterval: 10, Keep: 1, KeepEvery: 50}, all(41, 10), 410, append(all(20, 20), 50, 150, 250, 350, 410)},
	} {
		old := ReplacedSnapshots(test.o, test.steps, test.newest)
		var kept []int
		for _, step := range test.steps {
			if !slices.Contains(old, step) {
				kept = append(kept, step)
			}
		}
		slices.Sort(test.kept)
		if !slices.Equal(kept, test.kept) {
			t.Errorf("%+v, newest %d: keeps %v, want %v", test.o, test.newest, kept, test.kept)
		}
	}
	there := []string{"ema/ema-000010.pt", "ema/ema-000020.pt", "ema/ema-000015.pt", "checkpoints/ckpt-000010.pt", "checkpoints/ckpt-000020.pt", "x/ema-000001.pt"}
	o := runconfig.Options{SaveInterval: 10, Keep: 1}
	if got := Replaced(o, there, []string{"ema/ema-000020.pt", "checkpoints/ckpt-000020.pt"}); !slices.Equal(got, []string{"checkpoints/ckpt-000010.pt", "ema/ema-000015.pt"}) {
		t.Errorf("deletes %v from the copy", got)
	}
}

func TestSnapshotOfLaterFormat(t *testing.T) {
	newer := dictOf("format", int64(formatVersion+1), snapshotKey, dictOf("power-0.1", new(pt.Dict)))
	if _, err := new(Checkpoint).parseSnapshot(newer); err == nil || !strings.Contains(err.Error(), "update iddpm") {
		t.Errorf("a snapshot of a later format: %v", err)
	}
}

// FuzzSnapshot: a file is refused or read as a snapshot whose sums are tensors.
func FuzzSnapshot(f *testing.F) {
	config, err := json.Marshal(madeup.Run())
	if err != nil {
		f.Fatal(err)
	}
	weights := dictOf("w", &pt.Tensor{DType: pt.Float16, Shape: []int64{2}, Data: []byte{0, 60, 0, 60}})
	data := dictOf("position", int64(0), "name", "n", "fingerprint", "f", "classes", []any{})
	for _, dict := range []*pt.Dict{
		dictOf("format", int64(1), "config", string(config), "step", int64(2), "data", data, snapshotKey, dictOf("power-0.1", weights)),
		dictOf("format", int64(1), "config", "{}", "step", int64(-2), "data", data, snapshotKey, dictOf("power-0.1", "w")),
		dictOf("config", string(config), "step", "2", "data", data, snapshotKey, dictOf(int64(1), weights)),
	} {
		path := filepath.Join(f.TempDir(), "s.pt")
		if err := pt.WriteFile(path, dict); err != nil {
			f.Fatal(err)
		}
		file, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(file)
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		path := filepath.Join(t.TempDir(), "s.pt")
		if err := os.WriteFile(path, file, 0o666); err != nil {
			t.Fatal(err)
		}
		value, err := pt.ReadFile(path)
		if err != nil {
			return
		}
		c := &Checkpoint{Path: path}
		averages, err := c.parseSnapshot(value)
		if err != nil {
			return
		}
		for _, key := range averages.keys() {
			var s sums
			if err := s.add(averages.sub(key), 0.5); err == nil {
				s.dict()
			}
		}
	})
}
