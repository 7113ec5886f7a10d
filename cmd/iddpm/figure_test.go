package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/wangkuiyi/gotorch/npy"

	"iddpm/train/metrics"
)

// draw runs iddpm figure and returns the rows of the CSV, the header first. The PNG and the
// SVG must be valid images.
func drawFigure(t *testing.T, args ...string) [][]string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "figures", "f.svg")
	got := iddpm(t, append(append([]string{"figure"}, args...), "-o", out, "--json")...)
	var result figureResult
	if err := json.Unmarshal([]byte(got.stdout), &result); got.status != exitDone || err != nil {
		t.Fatalf("%v: status %d, %q, %v", args, got.status, got.stderr, err)
	}
	if result.Figure != args[0] || result.SVG != out {
		t.Errorf("%v: result %+v", args, result)
	}
	f, err := os.Open(result.PNG)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if img, err := png.Decode(f); err != nil || img.Bounds().Dx() < 200 {
		t.Errorf("%s: %v", result.PNG, err)
	}
	if svg, err := os.ReadFile(result.SVG); err != nil || !strings.Contains(string(svg), "</svg>") {
		t.Errorf("%s: %v", result.SVG, err)
	}
	table, err := os.Open(result.CSV)
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	rows, err := csv.NewReader(table).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// cells returns a column of the rows of one name, as numbers.
func cells(t *testing.T, rows [][]string, name, column string) (values []float64) {
	t.Helper()
	at := slices.Index(rows[0], column)
	if at < 0 {
		t.Fatalf("no column %s in %v", column, rows[0])
	}
	for _, row := range rows[1:] {
		if row[0] == name {
			v, err := strconv.ParseFloat(row[at], 64)
			if err != nil {
				t.Fatal(err)
			}
			values = append(values, v)
		}
	}
	return values
}

func TestFigureHelp(t *testing.T) {
	if got := iddpm(t, "figure"); got.status != exitDone {
		t.Errorf("status %d, %s", got.status, got.stderr)
	} else {
		for _, spec := range figureSpecs() {
			if !strings.Contains(got.stdout, spec.name) {
				t.Errorf("iddpm figure does not list %s", spec.name)
			}
		}
	}
	for name, want := range map[string]string{"variance-ratio": "figure 1 of", "vlb-terms": "2 of the paper", "noising": "figure 3 of", "skip-steps": "figure 4 of", "sampling-steps": "figure 8 of",
		"alpha-bar": "figure 5 of", "learning-curves": "figure 6 of", "gradient-noise": "Figure 7 of", "schedule-compare": "sections 3.1, 3.2 and 4"} {
		if got := iddpm(t, "figure", name, "--help"); got.status != exitDone || !strings.Contains(got.stdout, want) {
			t.Errorf("%s: help lacks %q:\n%s%s", name, want, got.stdout, got.stderr)
		}
	}
}

func TestFigureWrongUse(t *testing.T) {
	dir := t.TempDir()
	missing := filepath.Join(dir, "nowhere")
	empty := writeFile(t, "config.json", "{}")
	terms := filepath.Join(dir, "samples.npz")
	array, err := npy.New([]float32{1, 2}, 1, 1, 2)
	if err != nil {
		t.Fatal(err)
	}
	if err := npy.WriteNPZFile(terms, npy.Named{Array: array}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"alpha-bra"}, exitUsage, "did you mean alpha-bar?"},
		{[]string{"alpha-bar", "extra"}, exitUsage, "accepts only flags, not extra"},
		{[]string{"alpha-bar", "--diffusion-steps", "3"}, exitUsage, "diffusion_steps is 3"},
		{[]string{"alpha-bar", "-o", "a.pdf"}, exitUsage, "not as .pdf"},
		{[]string{"variance-ratio", "--noise-schedule", "cubic"}, exitUsage, "cubic"},
		{[]string{"noising", missing}, exitFailed, "nowhere"},
		{[]string{"noising", "--picture", "no_such_emoji"}, exitUsage, "contains it"},
		{[]string{"noising", "--picture", "999999"}, exitUsage, "has the images 0 to"},
		{[]string{"noising", "--columns", "1"}, exitUsage, "1 columns"},
		{[]string{"noising", "a", "b"}, exitUsage, "name only one image"},
		{[]string{"schedule-compare", "linear"}, exitUsage, "linear:1000"},
		{[]string{"schedule-compare", "cosine:many"}, exitUsage, `"many"`},
		{[]string{"schedule-compare", "cosine:1000:ddim80"}, exitUsage, "ddim80"},
		{[]string{"schedule-compare", "cubic:1000"}, exitUsage, "cubic:1000 is neither"},
		{[]string{"learning-curves"}, exitUsage, "name run folders"},
		{[]string{"learning-curves", missing}, exitFailed, "nowhere does not exist"},
		{[]string{"learning-curves", missing, "-o", filepath.Join(terms, "curves.png")}, exitFailed, "cannot create the output folder, name another by -o"},
		{[]string{"learning-curves", "a=" + missing}, exitFailed, "nowhere does not exist"},
		{[]string{"learning-curves", dir}, exitFailed, "not a readable run folder"},
		{[]string{"learning-curves", empty, "--smooth", "1"}, exitUsage, "smooth must be in [0, 1)"},
		{[]string{"gradient-noise", missing}, exitFailed, "nowhere does not exist"},
		{[]string{"vlb-terms"}, exitUsage, "name checkpoints"},
		{[]string{"vlb-terms", terms}, exitFailed, "is not a vb_terms.npz"},
		{[]string{"skip-steps", dir}, exitFailed, "is it a run folder?"},
		{[]string{"skip-steps", dir, "--num-pictures", "0"}, exitUsage, "must be above 0"},
		{[]string{"skip-steps", dir, "--threads", "-1"}, exitUsage, "--threads must be from 0"},
	} {
		got := iddpm(t, append([]string{"figure"}, append(c.args, "--json")...)...)
		if got.status != c.status || !strings.Contains(got.stderr, c.want) || got.stdout != "" {
			t.Errorf("%v: status %d, %q; want %d, %q", c.args, got.status, got.stderr, c.status, c.want)
		}
	}
	if left, _ := filepath.Glob("*.png"); len(left) > 0 {
		t.Errorf("figures were left: %v", left)
	}
}

func TestFiguresOfSchedules(t *testing.T) {
	rows := drawFigure(t, "variance-ratio", "--diffusion-steps", "50,100")
	if n := len(rows) - 1; n != 150 {
		t.Errorf("variance-ratio has %d rows", n)
	}
	rows = drawFigure(t, "schedule-compare", "linear:100", "cosine:100:10")
	if n := len(cells(t, rows, "cosine, T = 100, respaced to 10", "beta")); n != 10 {
		t.Errorf("schedule-compare has %d respaced steps", n)
	}
	rows = drawFigure(t, "noising", "--columns", "3", "--image-size", "16", "--diffusion-steps", "50")
	if got := cells(t, rows, "cosine", "t"); !slices.Equal(got, []float64{0, 25, 50}) {
		t.Errorf("noising is at steps %v", got)
	}
	img := filepath.Join(t.TempDir(), "an image.png")
	if err := os.WriteFile(img, readFile(t, filepath.Join("..", "..", "testdata", "golden", "image", "fox_64.png")), 0o666); err != nil {
		t.Fatal(err)
	}
	drawFigure(t, "noising", img, "--columns", "2", "--image-size", "16")
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestFiguresOfRuns trains runs and checks that the figures show what they logged.
func TestFiguresOfRuns(t *testing.T) {
	dir := t.TempDir()
	hybrid, vlb := filepath.Join(dir, "a", "run"), filepath.Join(dir, "b", "run")
	noise := []string{"--learn-sigma", "--steps", "4", "--log-interval", "1", "--microbatch", "2", "--gradient-noise"}
	for _, args := range [][]string{trainTiny(hybrid, append(noise, "--rescale-learned-sigmas")...), trainTiny(vlb, append(noise, "--use-kl")...)} {
		if got := iddpm(t, args...); got.status != exitDone {
			t.Fatalf("%v: %s", args, got.stderr)
		}
	}
	logged := logOf(t, hybrid)
	rows := drawFigure(t, "learning-curves", hybrid, vlb)
	bits := cells(t, rows, "a/run", "train_bpd")
	for i, row := range logged {
		vb, _ := row.Get("vb")
		if math.Abs(bits[i]-1000*vb) > 1e-9*bits[i] {
			t.Errorf("step %d: %v bits/dim, the log has a vb of %v", row.Step, bits[i], vb)
		}
	}
	losses := cells(t, drawFigure(t, "learning-curves", "x="+vlb, "--metric", "loss", "--smooth", "0"), "x", "loss_smoothed")
	for i, row := range logOf(t, vlb) {
		if loss, _ := row.Get("loss"); losses[i] != loss {
			t.Errorf("step %d: %v, logged %v", row.Step, losses[i], loss)
		}
	}
	variances := cells(t, drawFigure(t, "gradient-noise", hybrid), "run", "grad_noise_variance")
	for i, row := range logged {
		if v, _ := row.Get("grad_noise_variance"); variances[i] != v {
			t.Errorf("step %d: %v, logged %v", row.Step, variances[i], v)
		}
	}
	if got := iddpm(t, "figure", "learning-curves", hybrid, "--metric", "los"); got.status != exitFailed || !strings.Contains(got.stderr, "did you mean loss?") {
		t.Errorf("unknown metric: %d, %s", got.status, got.stderr)
	}
	if n := len(cells(t, drawFigure(t, "schedule-compare", hybrid), "run", "beta")); n != 8 {
		t.Errorf("the run's schedule has %d steps", n)
	}
	testFiguresOfModels(t, hybrid)
}

func logOf(t *testing.T, dir string) []metrics.Row {
	t.Helper()
	rows, err := metrics.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func testFiguresOfModels(t *testing.T, run string) {
	cpu := []string{"--device", "cpu", "--precision", "fp32", "--num-pictures", "5"}
	rows := drawFigure(t, append([]string{"vlb-terms", "m=" + run, "--batch-size", "5"}, cpu...)...)
	terms := cells(t, rows, "m", "vb_bits_per_dim")
	if len(terms) != 8 {
		t.Fatalf("%d terms", len(terms))
	}
	again := cells(t, drawFigure(t, append([]string{"vlb-terms", "m=" + run, "--batch-size", "2"}, cpu...)...), "m", "vb_bits_per_dim")
	rows = drawFigure(t, append([]string{"skip-steps", "m=" + run}, cpu...)...)
	skipped, prior := cells(t, rows, "m", "bits_per_dim"), cells(t, rows, "m", "prior_bits_per_dim")
	sum := 0.0
	for i, v := range terms {
		if math.Abs(again[i]-v) > 1e-4*math.Abs(v) {
			t.Errorf("term %d is %v, in other batches %v", i, v, again[i])
		}
		if sum += v; math.Abs(skipped[i]-prior[i]-sum) > 1e-4*sum {
			t.Errorf("with %d steps left: %v bits/dim, of them %v of the prior; the terms sum to %v", i+1, skipped[i], prior[i], sum)
		}
	}
	rows = drawFigure(t, append([]string{"skip-steps", "m=" + run, "--num-samples", "3", "--batch-size", "2"}, cpu...)...)
	drawn := 0
	for _, row := range rows[1:] {
		if cell := row[len(row)-1]; cell != "" {
			drawn++
			if v, err := strconv.ParseFloat(cell, 64); err != nil || !(v > 0) {
				t.Errorf("a difference of %q dB", cell)
			}
		}
	}
	if drawn != 8 { // ten fractions of eight steps
		t.Errorf("images were drawn by %d processes", drawn)
	}
	testFiguresBySamples(t, run)
	if got := cells(t, drawFigure(t, "vlb-terms", "m="+termsFile(t, terms)), "m", "vb_bits_per_dim"); !slices.Equal(got, terms) {
		t.Errorf("read from a file the terms are %v, want %v", got, terms)
	}
}

// With weights of the Inception network figures compare samples by KID.
func testFiguresBySamples(t *testing.T, run string) {
	weights, err := madeUpWeights()
	if err != nil {
		t.Fatal(err)
	}
	common := []string{"m=" + run, "--device", "cpu", "--num-samples", "2", "--num-ref", "2", "--inception", weights}
	skip := drawFigure(t, append([]string{"skip-steps", "--num-pictures", "2", "--timestep-respacing", "2"}, common...)...)
	if by := cells(t, skip, "m", "kid"); len(by) != 2 || by[0] == 0 || by[0] == by[1] {
		t.Errorf("skip-steps has %v", skip)
	}
	few := append([]string{"sampling-steps", "--sampling-steps", "2,5"}, common...)
	if by := cells(t, drawFigure(t, append(few, "--samplers", "dpmpp-2m-sde", "--sampling-steps", "3")...), "dpmpp-2m-sde, trimmed", "kid"); len(by) != 1 {
		t.Errorf("KID in few steps: %v", by)
	}
	two := iddpm(t, append(append([]string{"figure"}, few...), "n="+run, "--samplers", "dpmpp-2m-sde", "--sampling-steps", "3", "-o", filepath.Join(t.TempDir(), "two"))...)
	if n := strings.Count(two.stderr, "computing Inception features"); two.status != exitDone || n != 1 {
		t.Errorf("status %d: the features of one reference are computed %d times for two models: %s", two.status, n, two.stderr)
	}
	rows := drawFigure(t, append(few, "--metric", "rms", "--samplers", "heun,ddim,ddpm")...)
	if got := cells(t, rows, "heun, logsnr", "evaluations"); !slices.Equal(got, []float64{3, 7}) {
		t.Errorf("heun evaluates the network %v times", got)
	}
	if len(rows) != 1+2+2 {
		t.Errorf("%v: ddpm has no distance to all timesteps", rows)
	}
	for want, args := range map[string][]string{
		"fid, kid or rms":    {"--metric", "is"},
		"all of them add":    {"--metric", "rms", "--samplers", "ddpm"},
		"not be negative":    {"--num-ref", "-1"},
		"2 to the 8 timeste": {"--sampling-steps", "9"},
	} {
		if got := iddpm(t, append(append([]string{"figure"}, few...), args...)...); got.status != exitUsage || !strings.Contains(got.stderr, want) {
			t.Errorf("%v: status %d, %s", args, got.status, got.stderr)
		}
	}
}

// termsFile writes terms as improved-diffusion does: the last timestep first.
func termsFile(t *testing.T, terms []float64) string {
	t.Helper()
	backwards := slices.Clone(terms)
	slices.Reverse(backwards)
	array, err := npy.New(backwards)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "vb_terms.npz")
	if err := npy.WriteNPZFile(path, npy.Named{Array: array}); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSourcesOf(t *testing.T) {
	dir := t.TempDir()
	var paths []string
	for _, name := range []string{"a/run", "b/run", "c/other", "a=b"} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(path, 0o777); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	got, err := sourcesOf(append(paths, "mine="+paths[0]))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range got {
		names = append(names, s.name)
	}
	// The first run is named twice, so no end of its path is unique.
	if want := fmt.Sprint([]string{paths[0], "b/run", "other", "a=b", "mine"}); fmt.Sprint(names) != want {
		t.Errorf("names %v, want %v", names, want)
	}
}

// FuzzParseSchedule checks that every argument that parses can be plotted.
func FuzzParseSchedule(f *testing.F) {
	for _, seed := range []string{"linear:1000", "cosine:4000:ddim50", "cosine:50:10,10", "linear", "cosine:", "linear:1:", "cosine:2::", "runs/001-emoji"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, arg string) {
		c, ok, err := parseSchedule(arg)
		if !ok && err != nil {
			t.Errorf("not a schedule, and yet %v", err)
		}
		if !ok || err != nil || c.Steps > 5000 {
			return
		}
		p, err := newProcess("", c)
		if err == nil && (len(p.Kept) != p.Schedule.NumTimesteps() || p.Original != c.Steps) {
			t.Errorf("%d steps kept, a schedule of %d", len(p.Kept), p.Schedule.NumTimesteps())
		}
	})
}
