package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/wangkuiyi/gotorch/npy"
	"github.com/wangkuiyi/gotorch/pt"
)

// testBareWeights samples from bare.pt, whose network tells all but the size of its images, its
// heads and its diffusion; want are its samples.
func testBareWeights(t *testing.T, want []byte, draw func(args ...string) map[string]*npy.Array) {
	t.Helper()
	rest := []string{"--image-size", "8", "--num-heads", "1", "--diffusion-steps", "8", "--noise-schedule", "cosine"}
	if got := draw(append([]string{"sample", "bare.pt", "-o", "told"}, rest...)...); !bytes.Equal(got["arr_0"].Data, want) {
		t.Error("the network that the weights tell gives other images")
	}
	got := iddpm(t, "sample", "bare.pt", "--device", "cpu")
	if got.status != exitFailed || !strings.Contains(got.lastLine(), "do not tell the size of the images (denoiser of 32 channels x 1, 1 residual blocks per level;") || !strings.Contains(got.lastLine(), "--image-size") {
		t.Errorf("without the size: %d, %s", got.status, got.stderr)
	}
	wrong := append([]string{"sample", "bare.pt", "--num-channels", "64", "--num-res-blocks", "3", "--learn-sigma", "--class-cond=false", "--device", "cpu"}, rest...)
	const lines = `contradict these settings; omit them, the network is identified by its weights:
  --num-channels 64: the weights have 32
  --num-res-blocks 3: the weights have 1
  --learn-sigma true: the weights have false
  and 1 more`
	if got := iddpm(t, wrong...); got.status != exitUsage || !strings.HasSuffix(strings.TrimSpace(got.stderr), lines) {
		t.Errorf("wrong flags: %d, %s", got.status, got.stderr)
	}
	if got := iddpm(t, "sample", "bare.pt", "--preset", "emoji", "--device", "cpu"); got.status != exitUsage || !strings.Contains(got.stderr, "--preset emoji: channel-mult 1,2,2: the weights have 1\n") {
		t.Errorf("a wrong preset: %d, %s", got.status, got.stderr)
	}
	weights, err := pt.ReadFile("bare.pt")
	if err != nil {
		t.Fatal(err)
	}
	wrapped := new(pt.Dict)
	wrapped.Set("epoch", int64(3))
	wrapped.Set("state_dict", weights)
	if err := pt.WriteFile("lightning.ckpt", wrapped); err != nil {
		t.Fatal(err)
	}
	if got := draw(append([]string{"sample", "lightning.ckpt", "-o", "lightning"}, rest...)...); !bytes.Equal(got["arr_0"].Data, want) {
		t.Error("a Lightning checkpoint gives other images")
	}
	guided := iddpm(t, append([]string{"sample", "c", "--guide", "bare.pt", "--guidance", "2", "-o", "guided", "--num-samples", "1", "--timestep-respacing", "2"}, "--device", "cpu")...)
	if guided.status != exitDone {
		t.Errorf("--guide of bare weights: %d, %s", guided.status, guided.stderr)
	}
}
