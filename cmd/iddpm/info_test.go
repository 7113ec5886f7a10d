package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
)

// TestInfoCheckpointing checks that info reports the cost and the savings of gradient
// checkpointing, whether it is on or off.
func TestInfoCheckpointing(t *testing.T) {
	for flag, on := range map[string]bool{"--use-checkpoint=true": true, "--use-checkpoint=false": false} {
		var r infoResult
		if got := iddpm(t, "info", "imagenet64", flag, "--json"); json.Unmarshal([]byte(got.stdout), &r) != nil {
			t.Fatalf("%s: %s%s", flag, got.stdout, got.stderr)
		}
		c, kept := r.Checkpointing, r.Checkpointing.Whole
		if on {
			kept -= c.Saved
		}
		if r.Memory.PerImage != kept || c.Saved < c.Whole/2 || c.FLOPs < r.FLOPs/2 || c.FLOPs >= r.FLOPs {
			t.Errorf("%s: an image takes %d bytes, of one evaluation's %d operations: %+v", flag, r.Memory.PerImage, r.FLOPs, c)
		}
		if got := iddpm(t, "info", "imagenet64", flag); !strings.Contains(got.stdout, map[bool]string{true: "on: saves", false: "off: saves"}[on]) {
			t.Errorf("%s: %s", flag, got.stdout)
		}
	}
}

// TestInfoOfBareWeights checks that info does not report defaults as the settings of a file
// of only weights.
func TestInfoOfBareWeights(t *testing.T) {
	run, bare := tinyRun(t), filepath.Join(t.TempDir(), "bare.pt")
	if got := iddpm(t, "export", run, "-o", bare); got.status != exitDone {
		t.Fatal(got.stderr)
	}
	describe := func(args ...string) (r infoResult, text string) {
		t.Helper()
		got := iddpm(t, append(args, "--json")...)
		if err := json.Unmarshal([]byte(got.stdout), &r); err != nil {
			t.Fatalf("%v: %d, %s%s", args, got.status, got.stdout, got.stderr)
		}
		return r, iddpm(t, args...).stdout
	}
	whole, text := describe("info", run)
	if whole.Unfit != "" || !strings.Contains(text, "eval-pictures           64\n") {
		t.Errorf("of the run: %s", text)
	}
	unknown, text := describe("info", bare)
	if unknown.Parameters != whole.Parameters || unknown.Unfit == "" || unknown.FLOPs != 0 {
		t.Errorf("%d parameters, %d operations, unfit %q; the run has %d", unknown.Parameters, unknown.FLOPs, unknown.Unfit, whole.Parameters)
	}
	if !strings.Contains(text, "none in the file, which holds only weights; below: all defaults") || strings.Contains(text, "GFLOP") {
		t.Errorf("prints %s", text)
	}
	named, text := describe(append([]string{"info", bare}, tiny[:16]...)...)
	if named.Parameters != whole.Parameters || named.Unfit != "" || named.FLOPs != whole.FLOPs || !strings.Contains(text, "below: flags, and defaults") {
		t.Errorf("with its flags: %s", text)
	}
}
