package main

import (
	"bytes"
	"strings"
	"testing"
)

// TestGuidanceFlags: W = 1 generates the unguided samples to the bit, another W and another
// interval generate others, and a guide of the same weights changes nothing beyond rounding.
func TestGuidanceFlags(t *testing.T) {
	run := tinyRun(t, "--class-cond", "--class-dropout", "0.5", "--use-scale-shift-norm", "--lr", "0.05", "--steps", "8")
	generate := func(args ...string) []byte {
		return sample(t, append([]string{run, "--num-samples", "3", "--class", "1", "--ema", "none", "-o", t.TempDir()}, args...)...).pixels
	}
	plain, guided := generate(), generate("--guidance", "4")
	if bytes.Equal(guided, plain) {
		t.Error("--guidance 4 generates the unguided samples")
	}
	for _, test := range []struct {
		args string
		want []byte
		same bool
	}{
		{"--guidance 1", plain, true},
		{"--guidance 4 --guidance-interval 1e6,1e9", plain, true},
		{"--guidance 4 --guidance-interval 0,1e9", guided, true},
		{"--guidance 4 --guidance-interval 0.2,3", guided, false},
		{"--guidance 4 --batch-size 3 --guide " + run + " --guide-ema 0.9999", guided, false},
	} {
		if got := generate(strings.Fields(test.args)...); bytes.Equal(got, test.want) != test.same {
			t.Errorf("%s: the expected samples: %t", test.args, !test.same)
		}
	}
}

// TestGuidedCascade guides the second network only.
func TestGuidedCascade(t *testing.T) {
	first := tinyRun(t, "--class-cond")
	second := superResRun(t, "--class-cond", "--class-dropout", "0.5", "--use-scale-shift-norm", "--lr", "0.05", "--steps", "8")
	args := []string{first, "--upsample", second, "--upsample-ema", "none", "--num-samples", "2", "-o", t.TempDir()}
	plain, guided := sample(t, args...), sample(t, append(args, "--upsample-guidance", "4")...)
	if bytes.Equal(plain.pixels, guided.pixels) {
		t.Error("--upsample-guidance does not change the upsampled images")
	}
}

func TestGuidanceMisuse(t *testing.T) {
	without, other := tinyRun(t, "--class-cond"), tinyRun(t, "--diffusion-steps", "9")
	for _, test := range []struct {
		args string
		want string
	}{
		{"--guidance 2", "has no null class: train with --class-dropout 0.1, or name another network by --guide"},
		{"--guidance nan", "--guidance must be a number"},
		{"--guidance-interval 0,1", "need --guidance, such as 1.5"},
		{"--guide x.pt", "need --guidance, such as 1.5"},
		{"--guidance 2 --guide-ema 0.9", "--guide-ema is for --guide"},
		{"--guidance 2 --guidance-interval 1", "needs two noise levels"},
		{"--guidance 2 --guidance-interval 3,1", "needs two noise levels"},
		{"--guidance 2 --invert x.png", "--invert supports neither --eta nor --denoised-progress nor --guidance nor --classifier"},
		{"--upsample-guidance 2", "are for --upsample"},
		{"--guidance 2 --guide " + other, "--guide: the network cannot be the guide: its diffusion has other noise levels"},
	} {
		got := iddpm(t, append([]string{"sample", without, "--device", "cpu", "-o", t.TempDir()}, strings.Fields(test.args)...)...)
		if got.status != exitUsage || !strings.Contains(got.stderr, test.want) {
			t.Errorf("%s: status %d, %s", test.args, got.status, got.stderr)
		}
	}
	got := iddpm(t, trainTiny(t.TempDir(), "--class-dropout", "0.1", "--steps", "1")...)
	if got.status != exitUsage || !strings.Contains(got.stderr, "class-dropout must be in [0, 1), and 0 without class-cond") {
		t.Errorf("class dropout without classes: status %d, %s", got.status, got.stderr)
	}
}

// TestBenchGuidance times guided steps of a network with a null class only.
func TestBenchGuidance(t *testing.T) {
	bench := strings.Fields("bench sample --image-size 8 --num-channels 32 --channel-mult 1 --attention-resolutions 8 --batch-size 2 --steps 1 --warmup 1 --guidance 2")
	if got := iddpm(t, bench...); got.status != exitUsage || !strings.Contains(got.stderr, "--guidance needs a network with a null class") {
		t.Errorf("without a null class: status %d, %s", got.status, got.stderr)
	}
	got := iddpm(t, append(bench, "--class-cond", "--num-classes", "10", "--class-dropout", "0.1")...)
	if got.status != exitDone || !strings.Contains(got.stdout, `"what":"sample"`) {
		t.Errorf("status %d, %s%s", got.status, got.stdout, got.stderr)
	}
}
