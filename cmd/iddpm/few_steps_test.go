package main

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The distance of all timesteps of DDIM to themselves is 0, more steps are closer, and the table and
// the JSON name every setting.
func TestBenchFewSteps(t *testing.T) {
	run := tinyRun(t, "--diffusion-steps", "40", "--predict-xstart", "--lr", "0.003", "--steps", "4")
	args := []string{"bench", "few-steps", run, "--device", "cpu", "--threads", "1", "--ema", "none", "--num-samples", "2", "--sampling-steps", "40,4,12", "--samplers", "ddim,dpmpp-2m,ddpm"}
	got := iddpm(t, append(args, "--json")...)
	var r fewStepsResult
	if err := json.Unmarshal([]byte(got.stdout), &r); err != nil || got.status != exitDone {
		t.Fatalf("status %d, %v: %s", got.status, err, got.stderr)
	}
	if r.FullChain.RMS != 0 || r.FullChain.Timesteps != 40 || r.NumSamples != 2 || len(r.Rows) != 3*3*3 {
		t.Fatalf("%+v", r)
	}
	by := map[string]fewStepsRow{}
	for _, row := range r.Rows {
		by[strings.Join([]string{row.Spacing, row.Sampler, string(rune('0' + row.Steps/4))}, " ")] = row
		if row.Timesteps > row.Steps || row.Evaluations != row.Timesteps || !(row.SecondsPer64 > 0) || row.Deterministic != (row.Sampler != "ddpm") {
			t.Errorf("%+v", row)
		}
	}
	if all := by["t ddim :"]; all.RMS != 0 || all.Steps != 40 {
		t.Errorf("all timesteps: %+v", all)
	}
	for _, name := range []string{"t ddim", "logsnr ddim", "logsnr dpmpp-2m"} {
		if few, more := by[name+" 1"], by[name+" 3"]; !(few.RMS > more.RMS) || !(more.RMS > 0) {
			t.Errorf("%s: distance %g in 4 steps, %g in 12", name, few.RMS, more.RMS)
		}
	}
	file := filepath.Join(t.TempDir(), "f.json")
	if err := os.WriteFile(file, []byte(got.stdout), 0o666); err != nil {
		t.Fatal(err)
	}
	rows := drawFigure(t, "few-steps", "tiny="+file)
	if drawn := cells(t, rows, "tiny: dpmpp-2m, logsnr", "rms"); !slices.Contains(drawn, by["logsnr dpmpp-2m 1"].RMS) || len(drawn) != 3 {
		t.Errorf("the figure has %v", drawn)
	}
	if len(rows) != 1+3*2*3 {
		t.Errorf("the figure's table has %d rows: those without noise, and a header, are 19", len(rows))
	}
	if wrong := iddpm(t, "figure", "few-steps", filepath.Join(run, "config.json"), "-o", filepath.Join(t.TempDir(), "f.png")); wrong.status == exitDone || !strings.Contains(wrong.stderr, "not the output") {
		t.Errorf("status %d, %s", wrong.status, wrong.stderr)
	}
	text := iddpm(t, append(args, "--spacings", "logsnr", "--sampling-steps", "4")...)
	if lines := strings.Split(text.stdout, "\n"); len(lines) != 1+1+3+1+1 || !strings.Contains(text.stdout, "ddpm *") {
		t.Errorf("the table is\n%s", text.stdout)
	}
	for want, flags := range map[string][]string{
		"--samplers: unknown sampler": {"--samplers", "euler"},
		"--spacings: unknown spacing": {"--spacings", "karras"},
		"from 2 to the 40 timesteps":  {"--sampling-steps", "41"},
		"must be above 0":             {"--num-samples", "0"},
	} {
		if got := iddpm(t, append(args, flags...)...); got.status != exitUsage || !strings.Contains(got.stderr, want) {
			t.Errorf("%v: status %d, %s", flags, got.status, got.stderr)
		}
	}
}

func TestRMS(t *testing.T) {
	if got := rms([]byte{0, 255, 10}, []byte{255, 255, 10}); math.Abs(got-2/math.Sqrt(3)) > 1e-12 {
		t.Errorf("%g", got)
	}
}
