package main

import (
	"reflect"
	"strings"
	"testing"

	"iddpm/internal/cli"
)

func appSyntax() cli.Syntax {
	app := new(program).app()
	return cli.SyntaxOf(app.Flags, app.Commands)
}

func TestParseArguments(t *testing.T) {
	for _, test := range []struct{ args, want string }{
		{"", ""},
		{"--version", "--version=true"},
		{"-v", "--version=true"},
		{"-h", "--help"},
		{"help", "--help"},
		{"help train", "train --help"},
		{"help bench train", "bench train --help"},
		{"train -h", "train --help"},
		{"train --steps 3 --help", "train --help"},
		{"train --num_channels 128", "train --num-channels=128"},
		{"train --num-channels=128", "train --num-channels=128"},
		{"train -num_channels 128", "train --num-channels=128"},
		{"train --num_channels 128 --num-channels 64", "train --num-channels=128 --num-channels=64"},
		{"train --learn_sigma True --lr 1e-4", "train --learn-sigma=true --lr=1e-4"},
		{"train --learn_sigma False", "train --learn-sigma=false"},
		{"train --learn_sigma=True", "train --learn-sigma=true"},
		{"train --learn-sigma", "train --learn-sigma=true"},
		{"train --learn-sigma --steps 3", "train --learn-sigma=true --steps=3"},
		{"train --learn-sigma y --use-kl n", "train --learn-sigma=true --use-kl=false"},
		{"train --microbatch -1", "train --microbatch=-1"},
		{"train --num_heads_upsample=-1", "train --num-heads-upsample=-1"},
		{"train --data-dir=--odd", "train --data-dir=--odd"},
		{"train --attention_resolutions 16,8 --channel_mult 1,2,2", "train --attention-resolutions=16,8 --channel-mult=1,2,2"},
		{"sample a.pt --eta 0.5", "sample --eta=0.5 -- a.pt"},
		{"sample --model_path a.pt --use_ddim True", "sample --model-path=a.pt --use-ddim=true"},
		{"sample --use-ddim a.pt", "sample --use-ddim=true -- a.pt"},
		{"sample --model_path a.pt -o out", "sample --model-path=a.pt --out-dir=out"},
		{"sample -- --odd.pt", "sample -- --odd.pt"},
		{"sample --seed 1 -- --seed 2", "sample --seed=1 -- --seed 2"},
		{"resume - --steps 9", "resume --steps=9 -- -"},
		{"resume -5", "resume -- -5"},
		{"bench train --steps 3", "bench train --steps=3"},
	} {
		line, err := cli.Parse(appSyntax(), strings.Fields(test.args))
		if got := strings.Join(line.Arguments(), " "); err != nil || got != test.want {
			t.Errorf("%s:\ngot  %s, %v\nwant %s", test.args, got, err, test.want)
		}
	}
}

func TestParseArgumentsRefuses(t *testing.T) {
	for _, test := range []struct{ args, want string }{
		{"trian", "unknown command trian: did you mean train?"},
		{"bench trian", "unknown command trian: did you mean train?"},
		{"train --num_chanels 3", "unknown flag --num_chanels: did you mean --num-channels? (see iddpm help train)"},
		{"train --steps=3 --step=4", "unknown flag --step: did you mean --steps?"},
		{"train --", ""},
		{"train ---steps 3", "unknown flag ---steps: did you mean --steps?"},
		{"--steps 3", "unknown flag --steps"},
		{"train --cfg-scale 3", "unknown flag --cfg-scale (see iddpm help train)"},
		{"train --channels 3", "unknown flag --channels: did you mean --num-channels?"},
		{"paint", "unknown command paint (commands: bench, "},
		{"train --steps", "--steps needs a value"},
		{"train --data-dir --steps 3", "--data-dir needs a value, but --steps follows (write --data-dir=--steps if that is the value)"},
		{"train --steps many", `--steps: "many" is not a whole number`},
		{"train --steps 1.5", `--steps: "1.5" is not a whole number`},
		{"train --seed -1", `--seed: "-1" is not a whole number from 0 to 2^64-1`},
		{"train --lr fast", `--lr: "fast" is not a number`},
		{"train --learn-sigma=maybe", `--learn-sigma: "maybe" is neither true nor false`},
		{"train --channel-mult 1,x", `--channel-mult: "x" is not a number`},
	} {
		_, err := cli.Parse(appSyntax(), strings.Fields(test.args))
		switch {
		case test.want == "" && err != nil:
			t.Errorf("%s: %v", test.args, err)
		case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%s: %v, want %s", test.args, err, test.want)
		case err != nil && !cli.IsUsage(err):
			t.Errorf("%s: %v is no usage error", test.args, err)
		}
	}
}

// FuzzParseArguments checks that parsing is idempotent and that every error is a
// usageError.
func FuzzParseArguments(f *testing.F) {
	for _, line := range []string{
		"train --num_channels 128 --learn_sigma True --microbatch -1", "sample a.pt --model_path b.pt -- -x", "help bench train", "-v",
		"train --data-dir= --x", "bench sample --steps=3 -h", "train - -- --",
	} {
		f.Add(line)
	}
	root := appSyntax()
	f.Fuzz(func(t *testing.T, text string) {
		line, err := cli.Parse(root, strings.Split(text, " "))
		if err != nil {
			if !cli.IsUsage(err) {
				t.Fatalf("%q: %v is no usage error", text, err)
			}
			return
		}
		again, err := cli.Parse(root, line.Arguments())
		if err != nil {
			t.Fatalf("%q became %q: %v", text, line.Arguments(), err)
		}
		if !reflect.DeepEqual(line.Arguments(), again.Arguments()) {
			t.Fatalf("%q became %q, then %q", text, line.Arguments(), again.Arguments())
		}
	})
}
