package checkpoint

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wangkuiyi/gotorch"
	"github.com/wangkuiyi/gotorch/pt"

	"iddpm/internal/madeup"
	"iddpm/model"
	"iddpm/train/engine"
)

// smallest is a valid checkpoint of a network with one weight.
func smallest(t testing.TB) *pt.Dict {
	t.Helper()
	config, err := json.Marshal(madeup.Run())
	if err != nil {
		t.Fatal(err)
	}
	weights := dictOf("w", &pt.Tensor{DType: pt.Float32, Shape: []int64{1}, Data: make([]byte, 4)})
	return dictOf(
		"format", int64(formatVersion), "config", string(config), "step", int64(3), "model", weights,
		"ema", dictOf("0.9", weights), "optimizer", dictOf("state", new(pt.Dict)),
		"timestep_sampler", new(pt.Dict), "health", packHealth(engine.Health{Attempt: 1, Log2LossScale: 20}),
		"data", dictOf("position", int64(12), "name", "n", "fingerprint", "f", "classes", []any{"a"}),
		"environment", dictOf("libtorch", "2.11.0"),
	)
}

// Check returns Network's error without building the network.
func TestCheckpointCheck(t *testing.T) {
	network, err := model.New(tinyUNet(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer network.Free()
	good := Checkpoint{Path: "p", Config: madeup.Run(), Model: network.StateDict()}
	wider := good
	wider.Config.Model.NumChannels *= 2
	broken := good
	broken.Config.Model.NumResBlocks = -1
	for name, test := range map[string]struct {
		c    Checkpoint
		ema  string
		want string
	}{
		"fits":       {good, "none", ""},
		"no EMA":     {good, "0.5", "no EMA of decay rate 0.5"},
		"too narrow": {wider, "", "checkpoint p: the weights do not match the network"},
		"no network": {broken, "", "num-res-blocks must not be below 0"},
	} {
		err := test.c.Check(test.ema)
		if built, other := test.c.Network(test.ema, gotorch.Device{}); other == nil {
			built.Free()
		} else if err == nil || err.Error() != other.Error() {
			t.Errorf("%s: Check returns %v, Network %v", name, err, other)
		}
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}

// Sum reads the file once.
func TestCheckpointSum(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ckpt-000001.pt")
	if err := os.WriteFile(path, []byte("abc"), 0o666); err != nil {
		t.Fatal(err)
	}
	c := Checkpoint{Path: path}
	const want = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
	for range 2 {
		if got, err := c.Sum(); got != want || err != nil {
			t.Errorf("sum %s, %v", got, err)
		}
		os.Remove(path)
	}
	if _, err := (&Checkpoint{Path: path}).Sum(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a file: %v", err)
	}
	parts := []string{path + ".index.json", path}
	for i, part := range []string{"a", "bc"} {
		if err := os.WriteFile(parts[i], []byte(part), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := (&Checkpoint{Path: parts[0], files: parts}).Sum(); got != want || err != nil {
		t.Errorf("sum of two files %s, %v", got, err)
	}
}

func tinyUNet(t *testing.T) model.UNetConfig {
	t.Helper()
	u, err := madeup.Run().Model.UNet()
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestParseCheckpoint(t *testing.T) {
	c, err := parseCheckpoint("p", smallest(t))
	if err != nil || c.Step != 3 || c.Position != 12 || c.Health.Attempt != 1 || c.EMA["0.9"] == nil || c.ClassNames[0] != "a" {
		t.Fatalf("%+v, %v", c, err)
	}
	for _, test := range []struct {
		key   string
		value any
		want  string
	}{
		{"step", "3", "step is a str"},
		{"step", int64(-1), "is at step -1"},
		{"model", []any{}, "model is a list"},
		{"ema", dictOf(int64(1), new(pt.Dict)), "ema.1 is not a name"},
		{"ema", dictOf("0.9", nil), "ema.0.9 is a NoneType"},
		{"data", new(pt.Dict), "data.position is missing"},
		{"health", dictOf("attempt", "x"), "health.attempt is a str"},
		{"config", "{", "configuration: unexpected end"},
		{"config", "{}", "batch-size must be above 0"},
	} {
		d := smallest(t)
		d.Set(test.key, test.value)
		if _, err := parseCheckpoint("p", d); err == nil || !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), "checkpoint p: ") {
			t.Errorf("%s = %v: error %v lacks %q", test.key, test.value, err, test.want)
		}
	}
	old := new(pt.Dict)
	for key, value := range smallest(t).All() {
		if key != "health" {
			old.Set(key, value)
		}
	}
	if c, err := parseCheckpoint("p", old); err != nil || c.Health != engine.InitialHealth() {
		t.Errorf("a checkpoint without health: %+v, %v", c, err)
	}
}

func FuzzCheckpoint(f *testing.F) {
	for _, value := range []any{smallest(f), dictOf("w", &pt.Tensor{DType: pt.Float32, Shape: []int64{1}, Data: make([]byte, 4)}), []any{}, dictOf("format", int64(2))} {
		var file bytes.Buffer
		if err := pt.Write(&file, value); err != nil {
			f.Fatal(err)
		}
		f.Add(file.Bytes())
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		value, err := pt.Read(bytes.NewReader(file), int64(len(file)))
		if err != nil {
			return
		}
		c, err := parseCheckpoint("p", value)
		if err != nil {
			return
		}
		if c.Model == nil || !c.Bare && (c.Optimizer == nil || c.Config.Validate() != nil || c.Step < 0) {
			t.Errorf("half a checkpoint: %+v", c)
		}
	})
}
