package checkpoint

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/wangkuiyi/gotorch/pt"
	"github.com/wangkuiyi/gotorch/safetensors"

	"iddpm/internal/madeup"
)

// exportable is a checkpoint with two sets of weights.
func exportable() *Checkpoint {
	weights := func(v byte) *pt.Dict {
		return dictOf("b", &pt.Tensor{DType: pt.Float32, Shape: []int64{1}, Data: []byte{v, 0, 0, 0}}, "a", &pt.Tensor{DType: pt.Int64, Shape: []int64{}, Data: make([]byte, 8)})
	}
	return &Checkpoint{
		Path: "p", Step: 1000, Config: madeup.Run(), Model: weights(1), EMA: map[string]*pt.Dict{"0.9": weights(2)},
		DataName: "ünames", ClassNames: []string{"a", "<b>"}, ClassCounts: []int64{3, 0},
	}
}

func written(t testing.TB, f *safetensors.File) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := safetensors.Write(&b, f); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestExportedSafetensors writes, reads and writes again: the bytes are the same, and all that
// sampling needs is there.
func TestExportedSafetensors(t *testing.T) {
	for _, test := range []struct{ ema, rate, name, other string }{
		{"", "0.9", "EMA 0.9", "none"},
		{".90", "0.9", "EMA 0.9", "0.5"},
		{"none", "none", "of the last step", "0.9"},
	} {
		c := exportable()
		f, err := c.ExportSafetensors(test.ema)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "x") // detected without its extension
		if err := os.WriteFile(path, written(t, f), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := Load(path)
		if err != nil {
			t.Fatal(err)
		}
		if got.Bare || got.Step != c.Step || got.DataName != c.DataName || !reflect.DeepEqual(got.ClassNames, c.ClassNames) || !reflect.DeepEqual(got.ClassCounts, c.ClassCounts) || !reflect.DeepEqual(got.Config, c.Config) {
			t.Errorf("%q: read as %+v", test.ema, got)
		}
		for _, ema := range []string{"", test.ema, test.rate} {
			w, err := got.Weights(ema)
			if err != nil || w.Rate != test.rate || w.Name != test.name || w.Reason != "" {
				t.Errorf("%q: --ema %q is %+v, %v", test.ema, ema, w, err)
			}
		}
		if _, err := got.Weights(test.other); err == nil || !strings.Contains(err.Error(), "holds only the weights that were exported ("+test.name) {
			t.Errorf("%q: weights that are not there: %v", test.ema, err)
		}
		again, err := got.ExportSafetensors("")
		if err != nil || !bytes.Equal(written(t, again), written(t, f)) {
			t.Errorf("%q: exported again it differs: %v", test.ema, err)
		}
		if err := got.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestHostileMetadata has a good file with one bad text each.
func TestHostileMetadata(t *testing.T) {
	for _, test := range []struct{ key, value, want string }{
		{metadataConfig, "{", "iddpm.config: configuration: unexpected end"},
		{metadataConfig, "{}", "batch-size must be above 0"},
		{metadataConfig, "[]", "cannot unmarshal array"},
		{metadataStep, "-1", "iddpm.step: -1 is negative"},
		{metadataStep, "1e99", "iddpm.step: json"},
		{metadataStep, "", "iddpm.step: unexpected end"},
		{metadataClasses, "{}", "iddpm.classes: json"},
		{metadataCounts, `["a"]`, "iddpm.class_counts: json"},
		{metadataWeights, "best", `iddpm.weights: "best" is neither`},
	} {
		f, err := exportable().ExportSafetensors("")
		if err != nil {
			t.Fatal(err)
		}
		f.Metadata[test.key] = test.value
		err = new(Checkpoint).parseSafetensors(f)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s = %s: got %v, want %q", test.key, test.value, err, test.want)
		}
	}
	if err := new(Checkpoint).parseSafetensors(&safetensors.File{}); err == nil || !strings.Contains(err.Error(), "is empty") {
		t.Errorf("no tensor: %v", err)
	}
}

// FuzzSafetensorsCheckpoint changes the whole file, metadata included: truncated, huge counts,
// overlapping offsets and other types are among the seeds' neighbours.
func FuzzSafetensorsCheckpoint(f *testing.F) {
	file, err := exportable().ExportSafetensors("")
	if err != nil {
		f.Fatal(err)
	}
	bare := &safetensors.File{Tensors: file.Tensors}
	for _, metadata := range []map[string]string{nil, {metadataStep: "9"}, {metadataClasses: "{}"}, {metadataWeights: "NaN"}} {
		all := &safetensors.File{Metadata: maps.Clone(file.Metadata), Tensors: file.Tensors}
		maps.Copy(all.Metadata, metadata)
		whole := written(f, all)
		f.Add(whole)
		f.Add(whole[:len(whole)-3])
		f.Add(bytes.Replace(whole, []byte("[0,8]"), []byte("[4,8]"), 1))
		f.Add(bytes.Replace(whole, []byte(`"shape":[1]`), []byte(`"shape":[9]`), 1))
		f.Add(bytes.Replace(whole, []byte("F32"), []byte("F99"), 1))
	}
	f.Add(written(f, bare))
	f.Fuzz(func(t *testing.T, data []byte) {
		parsed, err := safetensors.Parse(data)
		if err != nil {
			return
		}
		c := &Checkpoint{Path: "p"}
		if err := c.parseSafetensors(parsed); err != nil {
			return
		}
		if c.Model == nil || c.Bare == (c.Exported != "") || !c.Bare && (c.Config.Validate() != nil || c.Step < 0) {
			t.Errorf("half a checkpoint: %+v", c)
		}
		if c.Bare {
			return
		}
		if text, err := json.Marshal(c.Config); err != nil || len(text) == 0 {
			t.Errorf("the configuration cannot be written again: %v", err)
		}
		if _, err := c.ExportSafetensors(""); err != nil {
			t.Errorf("cannot be exported again: %v", err)
		}
	})
}
