package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"iddpm/distributed"
	"iddpm/internal/cli"
	"iddpm/runconfig"
)

// variables is an environment of only the given variables.
func variables(pairs map[string]string) cli.Environment {
	return func(name string) (string, bool) {
		v, ok := pairs[name]
		return v, ok
	}
}

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSources(t *testing.T) {
	file := writeFile(t, "train.yaml", `
num_channels: 64        # as in the reference
batch-size: 4
learn_sigma: True
lr: 1e-4
ema_rate: [0.99, 0.999]
channel_mult: 1,2
seed: 18446744073709551615
grad_clip:              # empty: as before
num_samples: 3          # another command's
train:
  steps: 7
`)
	for _, test := range []struct {
		name string
		args string
		env  map[string]string
		want map[string]string
	}{
		{"flag", "--steps 1", nil, map[string]string{"steps": "1"}},
		{"variable", "", map[string]string{"IDDPM_STEPS": "2", "IDDPM_LEARN_SIGMA": "True"}, map[string]string{"steps": "2", "learn-sigma": "true"}},
		{"flag over variable", "--steps 1", map[string]string{"IDDPM_STEPS": "2"}, map[string]string{"steps": "1"}},
		{"empty variable", "", map[string]string{"IDDPM_STEPS": ""}, map[string]string{"steps": ""}},
		{"file", "--config " + file, nil, map[string]string{
			"num-channels": "64", "batch-size": "4", "learn-sigma": "true", "lr": "1e-4", "ema-rate": "0.99,0.999", "channel-mult": "1,2",
			"seed": "18446744073709551615", "steps": "7", "grad-clip": "", "num-samples": "",
		}},
		{"file of a variable", "", map[string]string{"IDDPM_CONFIG": file}, map[string]string{"steps": "7"}},
		{"all", "--steps 1 --config " + file, map[string]string{"IDDPM_STEPS": "2", "IDDPM_BATCH_SIZE": "3"}, map[string]string{"steps": "1", "batch-size": "3", "num-channels": "64"}},
		{"reference's folder", "", map[string]string{"OPENAI_LOGDIR": "there"}, map[string]string{"run-dir": "there"}},
		{"our folder", "", map[string]string{"OPENAI_LOGDIR": "there", "IDDPM_RUN_DIR": "here"}, map[string]string{"run-dir": "here"}},
	} {
		line, err := cli.Parse(appSyntax(), strings.Fields("train "+test.args))
		if err == nil {
			err = line.AddSources(appSyntax(), variables(test.env))
		}
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		for name, want := range test.want {
			if got := line.Last(name); got != want {
				t.Errorf("%s: %s is %q, not %q", test.name, name, got, want)
			}
		}
	}
}

// TestConfigFileEncodings reads what Notepad writes: a byte-order mark, or UTF-16.
func TestConfigFileEncodings(t *testing.T) {
	for name, text := range map[string]string{
		"UTF-8 with mark": "\xef\xbb\xbfsteps: 7\r\nrandom_flip: True\r\n",
		"UTF-16LE":        "\xff\xfes\x00t\x00e\x00p\x00s\x00:\x00 \x007\x00\r\x00\n\x00",
		"UTF-16BE":        "\xfe\xff\x00s\x00t\x00e\x00p\x00s\x00:\x00 \x007",
		"JSON with mark":  "\xef\xbb\xbf{\"train\": {\"steps\": 7}}",
	} {
		line := cli.Line{Command: []string{"train"}, Flags: []cli.FlagValue{{Name: "config", Value: writeFile(t, "train.yaml", text)}}}
		if err := line.AddSources(appSyntax(), variables(nil)); err != nil || line.Last("steps") != "7" {
			t.Errorf("%s: steps is %q, %v", name, line.Last("steps"), err)
		}
	}
}

func TestSourcesRefuse(t *testing.T) {
	for _, test := range []struct{ name, file, want string }{
		{"unknown key", "num_chanels: 3", "unknown key num_chanels: did you mean num-channels?"},
		{"wrong value", "steps: many", `steps: "many" is not a whole number`},
		{"wrong kind", "steps: [{a: 1}]", "steps: map[a:1] is neither a value nor a list of values"},
		{"no YAML", "steps: [1", "train.yaml"},
		{"a list", "- steps", "train.yaml"},
		{"Windows-1252", "data_dir: caf\xe9", "line 1: byte 0xe9 is neither UTF-8 nor UTF-16"},
		{"twice", "steps: 1\nsteps: 2", "train.yaml"},
	} {
		line := cli.Line{Command: []string{"train"}, Flags: []cli.FlagValue{{Name: "config", Value: writeFile(t, "train.yaml", test.file)}}}
		err := line.AddSources(appSyntax(), variables(nil))
		if err == nil || !strings.Contains(err.Error(), test.want) || exitStatus(err) != exitUsage {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	line := cli.Line{Command: []string{"train"}}
	err := line.AddSources(appSyntax(), variables(map[string]string{"IDDPM_STEPS": "many"}))
	if err == nil || err.Error() != `IDDPM_STEPS: "many" is not a whole number` {
		t.Errorf("variable: %v", err)
	}
}

// TestReferenceVariable checks that OPENAI_LOGDIR does not move a resumed run, but decides
// where samples go.
func TestReferenceVariable(t *testing.T) {
	env := variables(map[string]string{"OPENAI_LOGDIR": "there"})
	for _, test := range []struct{ command, flag, want string }{
		{"train", "run-dir", "there"}, {"resume", "run-dir", ""}, {"sample", "out-dir", "there"},
	} {
		line := cli.Line{Command: []string{test.command}}
		if err := line.AddSources(appSyntax(), env); err != nil || line.Last(test.flag) != test.want {
			t.Errorf("%s: --%s is %q, %v", test.command, test.flag, line.Last(test.flag), err)
		}
	}
}

// TestConfigOfARun checks that a run's config.json works with --config: every key is a flag,
// and the flags reproduce the configuration.
func TestConfigOfARun(t *testing.T) {
	for _, preset := range runconfig.Presets() {
		text, err := json.MarshalIndent(preset.Config, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		line := cli.Line{Command: []string{"train"}, Flags: []cli.FlagValue{{Name: "config", Value: writeFile(t, "config.json", string(text))}}}
		if err := line.AddSources(appSyntax(), variables(nil)); err != nil {
			t.Fatalf("%s: %v", preset.Name, err)
		}
		got := runconfig.Config{}
		got.Model.InChannels = 3
		for _, o := range cli.ConfigOptions(&got) {
			if text := line.Last(o.Name); text != "" {
				if err := cli.Set(o.Value, text); err != nil {
					t.Errorf("%s: --%s %s: %v", preset.Name, o.Name, text, err)
				}
			}
		}
		got.Diffusion.LearnSigma = got.Model.LearnSigma
		again, _ := json.MarshalIndent(got, "", "  ")
		if string(again) != string(text) {
			t.Errorf("%s:\n%s\nbecame\n%s", preset.Name, text, again)
		}
	}
}

func FuzzConfigFile(f *testing.F) {
	for _, text := range []string{"steps: 3", "a: [1, 2]\nb: {c: true}", "lr: 1e-4\nema_rate: [0.9]", "? x\n: y", "*a: &a b"} {
		f.Add(text)
	}
	root := appSyntax()
	f.Fuzz(func(t *testing.T, text string) {
		_, err := cli.ReadConfigFile(writeFile(t, "c.yaml", text), root.Commands["train"], root)
		if err != nil && exitStatus(err) != exitUsage {
			t.Fatalf("%v is no usage error", err)
		}
	})
}

func TestUnknownVariables(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, test := range []struct {
		name, value string
		want        string // in the log; "": no message
	}{
		{"IDDPM_STEP", "20", "unknown environment variable IDDPM_STEP: did you mean IDDPM_STEPS?"},
		{"IDDPM_BATCHSIZE", "20", "did you mean IDDPM_BATCH_SIZE?"},
		{"IDDPM_STEP", "", ""},
		{"IDDPM_SAVE_INTERVAL", "1", ""},
		{"IDDPM_NUM_SAMPLES", "1", ""}, // another command's
		{"IDDPM_SERVICE_HOST", "10.0.0.1", ""},
		{"IDDPM_SERVICE_PORT_HTTP", "80", ""},
		{"IDDPM_PORT_80_TCP_ADDR", "10.0.0.1", ""},
		{"IDDPM_PORT", "tcp://10.0.0.1:80", ""},
		{"STEP", "20", ""},
	} {
		got := iddpmWith(t.Context(), map[string]string{test.name: test.value}, "info", "cifar10")
		said := strings.Contains(got.stderr, "unknown environment variable")
		if got.status != exitDone || said != (test.want != "") || !strings.Contains(got.stderr, test.want) {
			t.Errorf("%s=%s: status %d: %s", test.name, test.value, got.status, got.stderr)
		}
	}
	for _, other := range []map[string]string{{"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}, {distributed.MasterSocket: "3"}} {
		other["IDDPM_STEP"] = "20"
		if got := iddpmWith(t.Context(), other, "info", "cifar10"); strings.Contains(got.stderr, "unknown environment variable") {
			t.Errorf("%v: said %s", other, got.stderr)
		}
	}
}
