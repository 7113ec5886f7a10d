package main

import (
	"os/exec"
	"strings"
	"testing"
)

// TestCompletion checks the scripts of the whole program, whose texts hold every kind of
// character.
func TestCompletion(t *testing.T) {
	for shell, want := range map[string]string{
		"bash": "complete -o filenames -F _iddpm iddpm", "zsh": "'--data-dir[", "fish": "-l guidance -r",
		"man": `\fB\-\-timestep\-respacing\fR `,
	} {
		got := iddpm(t, "completion", shell)
		if got.status != exitDone || !strings.Contains(got.stdout, want) {
			t.Errorf("%s: %d, %s", shell, got.status, got.stderr)
		}
		if shell == "bash" {
			check := exec.Command("bash", "-n")
			check.Stdin = strings.NewReader(got.stdout)
			if out, err := check.CombinedOutput(); err != nil {
				t.Errorf("bash: %v: %s", err, out)
			}
		}
	}
	for _, args := range [][]string{{"completion"}, {"completion", "csh"}, {"completion", "bash", "zsh"}} {
		if got := iddpm(t, args...); got.status != exitUsage {
			t.Errorf("%v: status %d", args, got.status)
		}
	}
}
