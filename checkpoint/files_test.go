package checkpoint

import (
	"slices"
	"testing"

	"iddpm/runconfig"
)

func TestCheckpointStep(t *testing.T) {
	for name, want := range map[string]int{
		"checkpoints/ckpt-000200.pt": 200, "ckpt-000000.pt": 0, "checkpoints/ckpt-1234567.pt": 1234567,
		"samples/ckpt-000200.pt": -1, "checkpoints/x/ckpt-000200.pt": -1, "checkpoints/.ckpt-000200.pt12": -1, "checkpoints/ckpt-000200.pt.part": -1,
		"checkpoints/ckpt-.pt": -1, "checkpoints/ckpt-99999999999999999999.pt": -1, "config.json": -1, "": -1,
	} {
		if step, ok := Step(name); ok != (want >= 0) || ok && step != want {
			t.Errorf("%q: step %d, %t; want %d", name, step, ok, want)
		}
	}
}

func TestReplaced(t *testing.T) {
	files := []string{"ckpt-000900.pt", "ckpt-000500.pt", "ckpt-000400.pt", "ckpt-000300.pt", "ckpt-000200.pt", "ckpt-000100.pt"}
	for _, c := range []struct {
		keep, every int
		want        []string
	}{
		{0, 0, nil},
		{0, 200, nil},
		{9, 0, nil},
		{1, 0, []string{"ckpt-000400.pt", "ckpt-000300.pt", "ckpt-000200.pt", "ckpt-000100.pt"}},
		{2, 0, []string{"ckpt-000300.pt", "ckpt-000200.pt", "ckpt-000100.pt"}},
		{2, 200, []string{"ckpt-000300.pt", "ckpt-000100.pt"}},
	} {
		if got := ReplacedFiles(files, "ckpt-000500.pt", c.keep, c.every); !slices.Equal(got, c.want) {
			t.Errorf("keep %d, every %d: deletes %v, want %v", c.keep, c.every, got, c.want)
		}
	}
}

// The same checkpoints are deleted from a remote copy, and no other files.
func TestReplacedInCopy(t *testing.T) {
	there := []string{"checkpoints/ckpt-000900.pt", "checkpoints/ckpt-000500.pt", "checkpoints/ckpt-000400.pt", "ckpt-000300.pt", "config.json",
		"log.jsonl", "samples/ckpt-000100.pt", "checkpoints/x/ckpt-000100.pt", "checkpoints/other.pt", "checkpoints/.ckpt-000100.pt12"}
	for _, c := range []struct {
		keep int
		sent []string
		want []string
	}{
		{1, []string{"log.jsonl", "checkpoints/ckpt-000500.pt", "checkpoints/ckpt-000900.pt"}, []string{"checkpoints/ckpt-000400.pt", "ckpt-000300.pt"}},
		{2, []string{"checkpoints/ckpt-000500.pt"}, []string{"ckpt-000300.pt"}},
		{1, []string{"log.jsonl", "samples/ckpt-000100.pt"}, nil},
		{0, []string{"checkpoints/ckpt-000900.pt"}, nil},
	} {
		if got := Replaced(runconfig.Options{Keep: c.keep}, there, c.sent); !slices.Equal(got, c.want) {
			t.Errorf("keep %d, sent %v: deletes %v, want %v", c.keep, c.sent, got, c.want)
		}
	}
	want := []string{"checkpoints/ckpt-000900.pt", "checkpoints/ckpt-000500.pt", "checkpoints/ckpt-000400.pt", "ckpt-000300.pt"}
	slices.Reverse(there)
	if got := Among(there); !slices.Equal(got, want) {
		t.Errorf("checkpoints %v, want %v", got, want)
	}
}
