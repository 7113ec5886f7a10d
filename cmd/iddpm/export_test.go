package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wangkuiyi/gotorch/pt"
	"github.com/wangkuiyi/gotorch/safetensors"

	"iddpm/checkpoint"
)

func TestExport(t *testing.T) {
	t.Chdir(t.TempDir())
	if got := iddpm(t, trainTiny("a", "--steps", "2", "--ema-rate", "0.5,0.9")...); got.status != exitDone {
		t.Fatal(got.stderr)
	}
	c, err := checkpoint.Load("a")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args []string
		want *pt.Dict
	}{
		{[]string{"-o", "w.pt"}, c.Model}, // 0.9^2 > 0.5
		{[]string{"-o", "w.safetensors", "--ema", ".9"}, c.EMA["0.9"]},
		{[]string{"--out", "w.bin", "--format", "safetensors", "--ema", "0.5"}, c.EMA["0.5"]},
		{[]string{"-o", "w", "--ema", "none"}, c.Model},
	} {
		var result exported
		got := iddpm(t, append([]string{"export", "a", "--json"}, test.args...)...)
		if err := json.Unmarshal([]byte(got.stdout), &result); err != nil || result.Step != 2 || len(result.Files) != 1 {
			t.Fatalf("%v: %d, %s%s", test.args, got.status, got.stdout, got.stderr)
		}
		read := readWeights(t, result.Files[0])
		if len(read) != test.want.Len() {
			t.Errorf("%v: %d tensors, want %d", test.args, len(read), test.want.Len())
		}
		for name, value := range test.want.All() {
			want, got := value.(*pt.Tensor), read[name.(string)]
			if got == nil || !slices.Equal(got.Shape, want.Shape) || !bytes.Equal(got.Data, want.Data) {
				t.Errorf("%v: %v differs", test.args, name)
			}
		}
	}
}

func readWeights(t *testing.T, path string) map[string]*pt.Tensor {
	t.Helper()
	all := map[string]*pt.Tensor{}
	if value, err := pt.ReadFile(path); err == nil {
		for name, tensor := range value.(*pt.Dict).All() {
			all[name.(string)] = tensor.(*pt.Tensor)
		}
		return all
	}
	file, err := safetensors.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, tensor := range file.Tensors {
		all[tensor.Name] = tensor.Tensor
	}
	return all
}

// TestReferenceLayout writes a run in the reference's layout, and resumes it by resume as well as by
// the reference's own command line.
func TestReferenceLayout(t *testing.T) {
	t.Chdir(t.TempDir())
	if got := iddpm(t, trainTiny("a", "--steps", "2")...); got.status != exitDone {
		t.Fatal(got.stderr)
	}
	got := iddpm(t, "export", "a", "--reference-layout", "theirs")
	if want := "theirs/model000002.pt\ntheirs/ema_0.9999_000002.pt\ntheirs/opt000002.pt\n"; got.status != exitDone || got.stdout != want {
		t.Fatalf("export: %d, %s%s", got.status, got.stdout, got.stderr)
	}
	if got := iddpm(t, "resume", "a", "--steps", "4", "--device", "cpu"); got.status != exitDone {
		t.Fatal(got.stderr)
	}
	const model = "theirs/model000002.pt"
	for dir, args := range map[string][]string{
		"b": append([]string{"resume", model, "--device", "cpu", "--run-dir", "b", "--steps", "4"}, tiny...),
		"c": trainTiny("c", "--resume_checkpoint", model, "--steps", "4", "--auto-resume"),
	} {
		if got := iddpm(t, args...); got.status != exitDone {
			t.Fatalf("%v: %d, %s", args, got.status, got.stderr)
		}
		sameWeights(t, "a", dir)
	}
	if got := iddpm(t, trainTiny("c", "--resume_checkpoint", model, "--steps", "5", "--auto-resume")...); got.status != exitDone || !strings.Contains(got.stdout, "step        5") {
		t.Errorf("--auto-resume: %d, %s%s", got.status, got.stdout, got.stderr)
	}
	if got := iddpm(t, "resume", model, "--device", "cpu"); got.status != exitUsage || !strings.Contains(got.lastLine(), "holds only weights") {
		t.Errorf("without a network: %d, %s", got.status, got.stderr)
	}
	if got := iddpm(t, "resume", model, "--num-channels", "64", "--device", "cpu"); got.status != exitFailed || !strings.Contains(got.stderr, "do not match the network") {
		t.Errorf("another network: %d, %s", got.status, got.stderr)
	}
	if left, _ := filepath.Glob("runs/*"); len(left) > 0 {
		t.Errorf("left %v", left)
	}
	got = iddpm(t, "resume", "a", "--lr", "1", "--steps", "5", "--device", "cpu")
	if got.status != exitDone || !strings.Contains(got.stderr, "--lr") {
		t.Errorf("a flag that changes nothing: %d, %s", got.status, got.stderr)
	}
}

func TestExportWrongUse(t *testing.T) {
	bare := filepath.Join(t.TempDir(), "bare.pt")
	weights := new(pt.Dict)
	weights.Set("w", &pt.Tensor{DType: pt.Float32, Shape: []int64{1}, Data: make([]byte, 4)})
	if err := pt.WriteFile(bare, weights); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "nowhere", "w.pt")
	for _, test := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{}, exitUsage, "iddpm export CKPT_OR_RUN_DIR"},
		{[]string{bare}, exitUsage, "name a file by -o"},
		{[]string{bare, "-o", out, "--format", "onnx"}, exitUsage, "not one of pt, safetensors, diffusers"},
		{[]string{bare, "-o", "w.onnx"}, exitUsage, "written as .pt or .safetensors"},
		{[]string{bare, "-o", out, "--reference-layout", "d"}, exitUsage, "choose one of -o FILE"},
		{[]string{bare, "--reference-layout", "d", "--ema", "none"}, exitUsage, "omit --format and --ema"},
		{[]string{bare, "--reference-layout", "d", "--license", "mit"}, exitUsage, "are for --format diffusers"},
		{[]string{bare, "-o", out, "--license", "mit"}, exitUsage, "--scheduler and --license are for --format diffusers"},
		{[]string{bare, "-o", out, "--format", "diffusers", "--scheduler", "pndm"}, exitUsage, "not one of ddpm, ddim"},
		{[]string{bare, "-o", out, "--format", "diffusers"}, exitFailed, "it has no time_embed.0.weight"},
		{[]string{bare, "-o", out}, exitFailed, "nowhere"},
		{[]string{bare, "-o", out, "--ema", "0.5"}, exitFailed, "no EMA of decay rate 0.5"},
		{[]string{bare, "--reference-layout", filepath.Dir(out)}, exitFailed, "no training state"},
		{[]string{bare + "x", "-o", out}, exitFailed, "no checkpoint or run folder"},
	} {
		got := iddpm(t, append([]string{"export"}, test.args...)...)
		if got.status != test.status || !strings.Contains(got.lastLine(), test.want) {
			t.Errorf("%v: %d, %s", test.args, got.status, got.stderr)
		}
	}
	if _, err := os.Stat(filepath.Dir(out)); !os.IsNotExist(err) {
		t.Errorf("a refusal leaves %s: %v", filepath.Dir(out), err)
	}
}

// TestExportRefuses checks that weights are not written among the checkpoints of a run.
func TestExportRefuses(t *testing.T) {
	t.Chdir(t.TempDir())
	if got := iddpm(t, trainTiny("a", "--steps", "2")...); got.status != exitDone {
		t.Fatal(got.stderr)
	}
	if got := iddpm(t, "export", "a", "-o", "bare.pt"); got.status != exitDone {
		t.Fatal(got.stderr)
	}
	if err := os.Symlink("a/checkpoints", "link"); err != nil {
		t.Fatal(err)
	}
	const ckpt = "a/checkpoints/ckpt-000002.pt"
	before, err := os.ReadFile(ckpt)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"a", "-o", ckpt}, "write to another folder"},
		{[]string{"a", "-o", "link/w.pt"}, "write to another folder"},
		{[]string{"a", "--reference-layout", "a/checkpoints"}, "write to another folder"},
		{[]string{"bare.pt", "-o", "./bare.pt", "--format", "safetensors"}, "is the checkpoint itself"},
		{[]string{"a", "-o", "-"}, "not written to standard output"},
	} {
		got := iddpm(t, append([]string{"export"}, test.args...)...)
		if got.status != exitUsage || !strings.Contains(got.lastLine(), test.want) {
			t.Errorf("%v: %d, %s", test.args, got.status, got.stderr)
		}
	}
	if after, err := os.ReadFile(ckpt); err != nil || !bytes.Equal(after, before) {
		t.Errorf("the checkpoint has changed: %v", err)
	}
}

// TestExportDiffusers: interop/test_diffusers.py loads such folders.
func TestExportDiffusers(t *testing.T) {
	t.Chdir(t.TempDir())
	if got := iddpm(t, trainTiny("good", "--steps", "2")...); got.status != exitDone {
		t.Fatal(got.stderr)
	}
	got := iddpm(t, "export", "good", "--format", "diffusers", "-o", "out", "--license", "mit")
	card, err := os.ReadFile("out/README.md")
	if got.status != exitDone || err != nil || !strings.HasSuffix(got.stdout, "out/README.md\n") {
		t.Fatalf("%d, %s%s (%v)", got.status, got.stdout, got.stderr, err)
	}
	for _, want := range []string{"# good\n", "license: mit", "| optimizer steps | 2 |", "training loss", "| training data | built-in emoji set |"} {
		if !strings.Contains(string(card), want) {
			t.Errorf("the card lacks %q: %s", want, card)
		}
	}
	if got := iddpm(t, trainTiny("bad", "--steps", "1", "--channel-mult", "1,2", "--num-heads", "2", "--attention-resolutions", "8,4")...); got.status != exitDone {
		t.Fatal(got.stderr)
	}
	got = iddpm(t, "export", "bad", "--format", "diffusers", "-o", "refused")
	if got.status != exitFailed || !strings.Contains(got.lastLine(), "16 channels at level 0 and 32 at level 1") || !strings.Contains(got.lastLine(), "--num-head-channels") {
		t.Errorf("heads of two widths: %d, %s", got.status, got.stderr)
	}
	if _, err := os.Stat("refused"); !os.IsNotExist(err) {
		t.Errorf("a refusal leaves a folder: %v", err)
	}
}

// A card is published: it has no folders of the machine.
func TestPublicName(t *testing.T) {
	for data, want := range map[string]string{"/home/me/photos": "photos", "photos": "photos", "built-in emoji set": "built-in emoji set", "s3://bucket/photos": "s3://bucket/photos"} {
		if got := publicName(data); got != want {
			t.Errorf("%s: %q, want %q", data, got, want)
		}
	}
}
