package main

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestInfoCheckpointing shows what gradient checkpointing costs and saves, whether
// it is on or not.
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
		if r.Memory.PerPicture != kept || c.Saved < c.Whole/2 || c.FLOPs < r.FLOPs/2 || c.FLOPs >= r.FLOPs {
			t.Errorf("%s: a picture takes %d bytes, of one evaluation's %d operations: %+v", flag, r.Memory.PerPicture, r.FLOPs, c)
		}
		if got := iddpm(t, "info", "imagenet64", flag); !strings.Contains(got.stdout, map[bool]string{true: "on: keeps", false: "off: keeps"}[on]) {
			t.Errorf("%s: %s", flag, got.stdout)
		}
	}
}
