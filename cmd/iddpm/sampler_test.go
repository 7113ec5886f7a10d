package main

import (
	"bytes"
	"errors"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"iddpm/diffusion"
)

func TestChooseSampler(t *testing.T) {
	T := samplerRequest{numTimesteps: 1000}
	with := func(change func(*samplerRequest)) samplerRequest { r := T; change(&r); return r }
	reference := with(func(r *samplerRequest) { r.reference = true })
	respaced := with(func(r *samplerRequest) { r.respacing, r.respaced, r.reference = "50", true, true })
	inverts := with(func(r *samplerRequest) { r.ddim = true })
	latents := with(func(r *samplerRequest) { r.deterministic = true })
	short := samplerRequest{numTimesteps: 40}
	for name, c := range map[string]struct {
		o    samplerOptions
		r    samplerRequest
		want samplerChoice
		err  string
	}{
		"no flags":               {samplerOptions{}, T, samplerChoice{diffusion.DPMPP2MSDE, 0, "trimmed25", true}, ""},
		"few timesteps":          {samplerOptions{}, short, samplerChoice{diffusion.Ancestral, 0, "", false}, ""},
		"reference":              {samplerOptions{}, reference, samplerChoice{diffusion.Ancestral, 0, "", false}, ""},
		"reference, DDIM":        {samplerOptions{ddim: true}, reference, samplerChoice{diffusion.DDIM, 0, "", false}, ""},
		"respaced":               {samplerOptions{}, respaced, samplerChoice{diffusion.Ancestral, 0, "50", false}, ""},
		"respaced, heun":         {samplerOptions{name: "heun"}, respaced, samplerChoice{diffusion.Heun, 0, "50", false}, ""},
		"ddpm":                   {samplerOptions{name: "ddpm"}, T, samplerChoice{diffusion.Ancestral, 0, "", false}, ""},
		"ddim, eta":              {samplerOptions{name: "ddim", eta: 0.5}, T, samplerChoice{diffusion.DDIM, 0.5, "", false}, ""},
		"ddim, twice":            {samplerOptions{name: "ddim", ddim: true, steps: 10}, T, samplerChoice{diffusion.DDIM, 0, "10", false}, ""},
		"ddim, even in log-SNR":  {samplerOptions{ddim: true, spacing: "logsnr"}, T, samplerChoice{diffusion.DDIM, 0, "logsnr20", false}, ""},
		"steps":                  {samplerOptions{steps: 10}, T, samplerChoice{diffusion.DPMPP2M, 0, "trimmed10", false}, ""},
		"twenty steps":           {samplerOptions{steps: 20}, T, samplerChoice{diffusion.DPMPP2MSDE, 0, "trimmed20", false}, ""},
		"steps of a reference":   {samplerOptions{steps: 10}, reference, samplerChoice{diffusion.DPMPP2M, 0, "trimmed10", false}, ""},
		"spacing":                {samplerOptions{steps: 10, spacing: "logsnr"}, T, samplerChoice{diffusion.DPMPP2M, 0, "logsnr10", false}, ""},
		"heun":                   {samplerOptions{name: "heun"}, T, samplerChoice{diffusion.Heun, 0, "logsnr20", false}, ""},
		"sde, even in t":         {samplerOptions{name: "dpmpp-2m-sde", steps: 30, spacing: "t"}, T, samplerChoice{diffusion.DPMPP2MSDE, 0, "30", false}, ""},
		"more steps than there":  {samplerOptions{name: "heun", steps: 50}, short, samplerChoice{diffusion.Heun, 0, "", false}, ""},
		"inversion":              {samplerOptions{}, inverts, samplerChoice{diffusion.DDIM, 0, "", false}, ""},
		"inversion by heun":      {samplerOptions{name: "heun"}, inverts, samplerChoice{}, "--invert needs DDIM"},
		"latents":                {samplerOptions{}, latents, samplerChoice{diffusion.DPMPP2M, 0, "trimmed20", true}, ""},
		"latents with noise":     {samplerOptions{name: "dpmpp-2m-sde"}, latents, samplerChoice{}, "without noise"},
		"latents with eta":       {samplerOptions{ddim: true, eta: 1}, latents, samplerChoice{}, "no --eta"},
		"two kinds of timesteps": {samplerOptions{steps: 10}, respaced, samplerChoice{}, "both choose the timesteps"},
	} {
		got, err := c.o.choose(c.r)
		if text := errorText(err); c.err == "" && (err != nil || got != c.want) || !strings.Contains(text, c.err) {
			t.Errorf("%s: %+v, %v; want %+v, %s", name, got, err, c.want, c.err)
		}
	}
	for want, o := range map[string]samplerOptions{
		"use one of ddpm":     {name: "euler"},
		"unknown spacing":     {spacing: "karras"},
		"name two samplers":   {name: "heun", ddim: true},
		"must be 2 or more":   {steps: 1},
		"must be in [0, 1]":   {ddim: true, eta: 2},
		"is an option of DDI": {name: "heun", eta: 1},
	} {
		if err := o.validate(); !strings.Contains(errorText(err), want) {
			t.Errorf("%+v: error %v, want %s", o, err, want)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// Without flags sampling takes few steps and says so; a command line of improved-diffusion takes all.
func TestSampleByDefault(t *testing.T) {
	run := tinyRun(t, "--diffusion-steps", "50")
	sampleOne := func(args ...string) sampled { return sample(t, append(args, "--num-samples", "1")...) }
	ours, named := sampleOne(run), sampleOne(run, "--sampler", "dpmpp-2m-sde", "--sampling-steps", "25", "--spacing", "trimmed")
	if ours.Sampler != "dpmpp-2m-sde" || ours.Timesteps > 25 || ours.Timesteps < 10 || ours.FullChain != 50 || !bytes.Equal(ours.pixels, named.pixels) || named.FullChain != 0 {
		t.Errorf("by default: %+v; named: %+v", ours.sampleResult, named.sampleResult)
	}
	theirs, full := sampleOne("--model_path", run), sampleOne(run, "--sampler", "ddpm")
	if theirs.Sampler != "ddpm" || theirs.Timesteps != 50 || !bytes.Equal(theirs.pixels, full.pixels) {
		t.Errorf("as improved-diffusion: %+v", theirs.sampleResult)
	}
	got := iddpm(t, "sample", run, "--device", "cpu", "--num-samples", "1")
	if !strings.Contains(got.stderr, "sampling in few steps") || !strings.Contains(got.stderr, "time by this sampler") || !strings.Contains(got.stdout, "steps by --spacing trimmed\n") || !strings.Contains(got.stdout, "50 steps by --sampler ddpm, about") {
		t.Errorf("%s%s", got.stderr, got.stdout)
	}
}

// Samples of every sampler are the same in any batch, and in parts.
func TestSamplersInParts(t *testing.T) {
	run := tinyRun(t)
	for _, s := range []string{"ddpm", "dpmpp-2m", "dpmpp-2m-sde", "heun"} {
		all := sample(t, run, "--sampler", s, "--num-samples", "3", "--batch-size", "1")
		last := sample(t, run, "--sampler", s, "--num-samples", "1", "--first-sample", "2", "--denoised-progress")
		if !bytes.Equal(last.pixels, all.pixels[2*8*8*3:]) || last.Progress == "" || all.Sampler != s {
			t.Errorf("%s: the third of three is another one, of %+v", s, last.sampleResult)
		}
	}
}

// --start returns the images at strength 0, and plain samples at strength 1.
func TestSampleFromImages(t *testing.T) {
	run := tinyRun(t)
	plain := sample(t, run, "--num-samples", "3")
	start := func(strength string) sampled {
		return sample(t, run, "--start", plain.Samples, "--strength", strength, "--seed", "9")
	}
	other := sample(t, run, "--num-samples", "3", "--seed", "9")
	same, half, full := start("0"), start("0.5"), start("1")
	if same.Evaluations != 0 || half.Evaluations != 4 || full.Evaluations != other.Evaluations {
		t.Errorf("evaluations of the network: %d, %d and %d", same.Evaluations, half.Evaluations, full.Evaluations)
	}
	if same.NumSamples != 3 || !bytes.Equal(same.pixels, plain.pixels) || !bytes.Equal(full.pixels, other.pixels) || bytes.Equal(half.pixels, plain.pixels) {
		t.Errorf("%+v: the images are not those that were given, or not samples", same.sampleResult)
	}
	for want, args := range map[string][]string{
		"strength is for --start": {"--strength", "0.5"},
		"must be in [0, 1]":       {"--start", "a", "--strength", "2"},
		"--start replaces":        {"--start", "a", "--latents", "b"},
	} {
		if got := iddpm(t, append([]string{"sample", run}, args...)...); got.status != exitUsage || !strings.Contains(got.stderr, want) {
			t.Errorf("%v: status %d, %s", args, got.status, got.stderr)
		}
	}
}

// --inpaint keeps the white pixels of the mask byte for byte.
func TestInpaintImages(t *testing.T) {
	run := tinyRun(t)
	given := sample(t, run, "--num-samples", "2")
	mask := filepath.Join(t.TempDir(), "mask.png")
	half := image.NewGray(image.Rect(0, 0, 8, 8))
	for i := range half.Pix[:32] {
		half.Pix[i] = 255
	}
	f, err := os.Create(mask)
	if err = errors.Join(err, png.Encode(f, half), f.Close()); err != nil {
		t.Fatal(err)
	}
	got := sample(t, run, "--inpaint", given.Samples, "--mask", mask, "--seed", "5", "--resamplings", "3", "--jump-length", "2")
	const each = 8 * 8 * 3
	for i := range 2 {
		was, now := given.pixels[i*each:(i+1)*each], got.pixels[i*each:(i+1)*each]
		if !bytes.Equal(was[:each/2], now[:each/2]) || bytes.Equal(was[each/2:], now[each/2:]) {
			t.Errorf("image %d: the known half is another, or the other half the same", i)
		}
	}
	if got.Sampler != "ddpm" || got.NumSamples != 2 || got.Evaluations != 8+3*2*2 {
		t.Errorf("%+v", got.sampleResult)
	}
	for want, args := range map[string][]string{
		"need each other":  {"--inpaint", "a"},
		"are for --inpai":  {"--jump-length", "3"},
		"supports neither": {"--inpaint", "a", "--mask", "b", "--start", "c"},
	} {
		if got := iddpm(t, append([]string{"sample", run}, args...)...); got.status != exitUsage || !strings.Contains(got.stderr, want) {
			t.Errorf("%v: status %d, %s", args, got.status, got.stderr)
		}
	}
}
