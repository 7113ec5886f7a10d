package figure

import (
	"bytes"
	"encoding/csv"
	"encoding/xml"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"iddpm/diffusion"
	"iddpm/internal/golden"
)

// drawn is a saved figure: the files that Save wrote.
type drawn struct {
	img     image.Image
	svg     string
	columns []string
	rows    [][]string
}

// saved saves a figure, reads its files back and fails if one is empty.
func saved(t *testing.T, save func(string) ([]string, error)) drawn {
	t.Helper()
	files, err := save(filepath.Join(t.TempDir(), "new", "figure.png"))
	if err != nil {
		t.Fatal(err)
	}
	var d drawn
	d.img, err = png.Decode(bytes.NewReader(read(t, files[0])))
	if err != nil {
		t.Fatal(err)
	}
	if n := colours(d.img); n < 50 {
		t.Errorf("%s has %d colours: it is blank", files[0], n)
	}
	d.svg = string(read(t, files[1]))
	checkXML(t, d.svg)
	all, err := csv.NewReader(bytes.NewReader(read(t, files[2]))).ReadAll()
	if err != nil || len(all) < 2 {
		t.Fatalf("%s: %d lines, %v", files[2], len(all), err)
	}
	d.columns, d.rows = all[0], all[1:]
	return d
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func colours(img image.Image) int {
	seen := map[color.Color]bool{}
	for y := img.Bounds().Min.Y; y < img.Bounds().Max.Y; y++ {
		for x := img.Bounds().Min.X; x < img.Bounds().Max.X; x++ {
			seen[img.At(x, y)] = true
		}
	}
	return len(seen)
}

func checkXML(t *testing.T, text string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(text))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatalf("the SVG: %v", err)
		}
	}
}

// column returns the numbers of a column, in rows whose first cell is name.
func (d drawn) column(t *testing.T, name, column string) (values []float64) {
	t.Helper()
	at := slices.Index(d.columns, column)
	if at < 0 {
		t.Fatalf("no column %s among %v", column, d.columns)
	}
	for _, row := range d.rows {
		if row[0] != name {
			continue
		}
		v := math.NaN()
		if row[at] != "" {
			var err error
			if v, err = strconv.ParseFloat(row[at], 64); err != nil {
				t.Fatal(err)
			}
		}
		values = append(values, v)
	}
	return values
}

// near fails unless got is want to within 1e-12 of it.
func near(t *testing.T, what string, got, want []float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	for i := range want {
		if math.IsNaN(got[i]) != math.IsNaN(want[i]) || math.Abs(got[i]-want[i]) > 5e-11*math.Abs(want[i]) {
			t.Fatalf("%s: value %d is %v, want %v", what, i, got[i], want[i])
		}
	}
}

// goldenSchedules returns the reference's schedules by name and length.
func goldenSchedules(t *testing.T) map[string]map[int]golden.Archive {
	t.Helper()
	all := map[string]map[int]golden.Archive{}
	for _, path := range golden.Files(t, "schedule/*.npz") {
		name, steps, _ := strings.Cut(strings.TrimSuffix(filepath.Base(path), ".npz"), "_")
		n, err := strconv.Atoi(steps)
		if err != nil {
			t.Fatal(err)
		}
		if all[name] == nil {
			all[name] = map[int]golden.Archive{}
		}
		all[name][n] = golden.Open(t, path)
	}
	return all
}

func TestVarianceRatioIsTheReferences(t *testing.T) {
	for name, lengths := range goldenSchedules(t) {
		var steps []int
		for n := range lengths {
			steps = append(steps, n)
		}
		slices.Sort(steps)
		chart, err := VarianceRatio(name, steps)
		if err != nil {
			t.Fatal(err)
		}
		d := saved(t, chart.Save)
		for n, archive := range lengths {
			betas := archive.Float64s("betas")
			want := archive.Float64s("posterior_variance")
			for i := range want {
				want[i] /= betas[i]
			}
			series := fmt.Sprintf("T = %d steps", n)
			near(t, name, d.column(t, series, "posterior_variance_over_beta"), want)
			if x := d.column(t, series, "t_over_T"); x[0] != 1/float64(n) || x[n-1] != 1 {
				t.Errorf("%s: t/T runs from %v to %v", series, x[0], x[n-1])
			}
			if !strings.Contains(d.svg, series) {
				t.Errorf("the legend lacks %q", series)
			}
		}
		if !strings.Contains(d.svg, "figure 1") {
			t.Error("the caption does not say which figure it is")
		}
	}
}

func TestAlphaBarIsTheReferences(t *testing.T) {
	compared := 0
	for name, lengths := range goldenSchedules(t) {
		for n, archive := range lengths {
			if n <= 20 { // the linear schedule in the same figure does not support such a small T
				continue
			}
			chart, err := AlphaBar(n)
			if err != nil {
				t.Fatal(err)
			}
			d := saved(t, chart.Save)
			near(t, name, d.column(t, name, "alpha_bar"), append([]float64{1}, archive.Float64s("alphas_cumprod")...))
			compared++
		}
	}
	if compared == 0 {
		t.Skip("the golden folder has no schedule of more than 20 steps")
	}
}

func TestCompareSchedulesIsTheReferences(t *testing.T) {
	var processes []Process
	for name, lengths := range goldenSchedules(t) {
		for n := range lengths {
			s, err := named(name, n)
			if err != nil {
				t.Fatal(err)
			}
			processes = append(processes, Process{Name: fmt.Sprintf("%s, %d", name, n), Schedule: s, Original: n})
		}
	}
	d := saved(t, CompareSchedules(processes).Save)
	for name, lengths := range goldenSchedules(t) {
		for n, archive := range lengths {
			series := fmt.Sprintf("%s, %d", name, n)
			near(t, series, d.column(t, series, "beta"), archive.Float64s("betas"))
			near(t, series, d.column(t, series, "alpha_bar"), archive.Float64s("alphas_cumprod"))
			near(t, series, d.column(t, series, "posterior_variance"), archive.Float64s("posterior_variance"))
		}
	}
}

// A respaced process has the alphaBar of the steps that it keeps, at their positions.
func TestCompareRespaced(t *testing.T) {
	whole, err := named(diffusion.Cosine, 1000)
	if err != nil {
		t.Fatal(err)
	}
	kept, err := diffusion.SpaceTimesteps(1000, "25")
	if err != nil {
		t.Fatal(err)
	}
	spaced, err := diffusion.NewSchedule(diffusion.RespaceBetas(whole.AlphasCumprod, kept))
	if err != nil {
		t.Fatal(err)
	}
	d := saved(t, CompareSchedules([]Process{{"whole", whole, nil, 1000}, {"25 of 1000", spaced, kept, 1000}}).Save)
	steps, alphas := d.column(t, "25 of 1000", "t"), d.column(t, "25 of 1000", "alpha_bar")
	for i, k := range kept {
		if steps[i] != float64(k+1) || math.Abs(alphas[i]/whole.AlphasCumprod[k]-1) > 1e-9 {
			t.Errorf("step %d is at %v with %v, want %d with %v", i, steps[i], alphas[i], k+1, whole.AlphasCumprod[k])
		}
	}
}

func gradient(size int) Image {
	p := Image{Name: "a gradient", Size: size, RGB: make([]byte, 3*size*size)}
	for i := range p.RGB {
		p.RGB[i] = byte(255 * (i / 3 % size) / size)
	}
	return p
}

func TestNoising(t *testing.T) {
	p := gradient(64)
	strip, err := Noising(p, NoisingOptions{Steps: 1000, Columns: 5, Seed: 7})
	if err != nil {
		t.Fatal(err)
	}
	d := saved(t, strip.Save)
	if got, want := d.column(t, "linear", "t"), []float64{0, 250, 500, 750, 1000}; !slices.Equal(got, want) {
		t.Errorf("steps %v, want %v", got, want)
	}
	for row, name := range []string{"linear", "cosine"} {
		// The first image is the image itself.
		first := strip.Cells[row][0].(*image.NRGBA)
		for i, want := range p.RGB {
			if got := first.Pix[i/3*4+i%3]; got != want {
				t.Fatalf("%s: value %d of the image at t = 0 is %d, want %d", name, i, got, want)
			}
		}
		signal, noise := d.column(t, name, "signal_factor"), d.column(t, name, "noise_factor")
		for k := range signal {
			if s := signal[k]*signal[k] + noise[k]*noise[k]; math.Abs(s-1) > 1e-12 {
				t.Errorf("%s: the variance at column %d is %v", name, k, s)
			}
			// Equation 9 in pixels: the mean of x_t over the columns of the gradient follows the
			// signal. At middle grey both sides are clipped equally.
			if got, want := correlation(strip.Cells[row][k].(*image.NRGBA), p), signal[k]; k > 0 && k < 4 && math.Abs(got-want) > 0.25*want+0.05 {
				t.Errorf("%s: column %d shows %.3f of the signal, want about %.3f", name, k, got, want)
			}
		}
	}
	again, err := Noising(p, NoisingOptions{Steps: 1000, Columns: 5, Seed: 8})
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(again.Cells[0][4].(*image.NRGBA).Pix, strip.Cells[0][4].(*image.NRGBA).Pix) {
		t.Error("another seed gives the same noise")
	}
}

// correlation returns the least-squares factor of an image in another.
func correlation(img *image.NRGBA, p Image) float64 {
	product, square := 0.0, 0.0
	for i, b := range p.RGB {
		x, y := float64(b)/127.5-1, float64(img.Pix[i/3*4+i%3])/127.5-1
		product, square = product+x*y, square+x*x
	}
	return product / square
}

func TestNoisingRefuses(t *testing.T) {
	for _, c := range []struct {
		p    Image
		o    NoisingOptions
		want string
	}{
		{Image{Name: "x.png", Size: 8, RGB: make([]byte, 5)}, NoisingOptions{Steps: 100}, "x.png: 5 bytes"},
		{gradient(8), NoisingOptions{Steps: 100, Columns: 1}, "1 columns"},
		{gradient(8), NoisingOptions{Steps: 0}, "9 columns"},
	} {
		if _, err := Noising(c.p, c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v", c.want, err)
		}
	}
}

func TestTermsAndSkipSteps(t *testing.T) {
	s, err := named(diffusion.Linear, 50)
	if err != nil {
		t.Fatal(err)
	}
	vb := make([]float64, 50)
	sum := 0.0
	for i := range vb {
		vb[i] = 1 / float64((i+1)*(i+1))
		sum += vb[i]
	}
	d := saved(t, Terms([]ModelTerms{{"m", vb}}).Save)
	near(t, "terms", d.column(t, "m", "vb_bits_per_dim"), vb)
	if c := d.column(t, "m", "cumulative_bits_per_dim"); math.Abs(c[49]-sum) > 1e-12 {
		t.Errorf("the terms sum to %v, want %v", c[49], sum)
	}
	const square = 0.3
	chart, err := SkipSteps([]SkipModel{{Name: "m", Schedule: s, VB: vb, Square: square, Differences: map[int]float64{50: 3, 20: 7}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	d = saved(t, chart.Save)
	bits, share := d.column(t, "m", "bits_per_dim"), d.column(t, "m", "skipped_share")
	// The bound of the whole process. Its prior term (equation 7) is the KL divergence of
	// N(m, v) from N(0, 1), with the mean square of m.
	a := s.AlphasCumprod[49]
	prior := 0.5 * (-math.Log(1-a) + (1 - a) + a*square - 1) / math.Ln2
	if share[49] != 0 || math.Abs(bits[49]-(sum+prior)) > 1e-9 {
		t.Errorf("with nothing left out %v at %v, want %v at 0", bits[49], share[49], sum+prior)
	}
	if db := d.column(t, "m", "difference_db"); db[49] != 3 || db[19] != 7 || !math.IsNaN(db[0]) || len(chart.Panels) != 2 {
		t.Errorf("%d panels, differences %v", len(chart.Panels), db)
	}
	if bits[0] < bits[49] {
		t.Errorf("leaving out nearly all costs nothing: %v, whole %v", bits[0], bits[49])
	}
	if _, err := SkipSteps([]SkipModel{{Name: "m", Schedule: s, VB: vb[:40]}}, nil); err == nil || !strings.Contains(err.Error(), "40 terms for a process of 50 steps") {
		t.Errorf("error %v", err)
	}
}

func TestRuns(t *testing.T) {
	runs := []Run{{"a", nil}, {"b", nil}}
	for k := range 200 {
		runs[0].Points = append(runs[0].Points, Point{10 * k, 4 + float64(k%2)})
		runs[1].Points = append(runs[1].Points, Point{10 * k, 6})
	}
	runs[1].Points[3].Value = math.NaN()
	d := saved(t, LearningCurves(runs, LearningCurvesOptions{Label: "bits/dim", Column: "bpd", Smooth: 0.9, Caption: "Curves."}).Save)
	even, constant := d.column(t, "a", "bpd_smoothed"), d.column(t, "b", "bpd_smoothed")
	if math.Abs(even[199]-4.5) > 0.03 {
		t.Errorf("4 and 5 in turn come to %v", even[199])
	}
	if !math.IsNaN(constant[3]) || math.Abs(constant[0]-6) > 1e-12 || math.Abs(constant[199]-6) > 1e-12 {
		t.Errorf("a constant 6 with a gap comes to %v, %v, %v", constant[0], constant[3], constant[199])
	}
	noise := NoiseRun{Name: "a"}
	for k := range 100 {
		noise.Steps = append(noise.Steps, k)
		noise.Variance = append(noise.Variance, 300)
		noise.Squared = append(noise.Squared, []float64{4, 2}[k%2])
	}
	noise.Variance[10], noise.Squared[0] = 1e12, -1
	d = saved(t, GradientNoise([]NoiseRun{noise}, 0.95).Save)
	scale := d.column(t, "a", "grad_noise_scale_smoothed")
	if !math.IsNaN(scale[0]) || scale[29] < 1e9 || math.Abs(scale[30]-100) > 1e-9 || math.Abs(scale[99]-100) > 1e-9 {
		t.Errorf("noise scales %v, %v, %v, %v; want none, one with an outlier, and 100 without it", scale[0], scale[29], scale[30], scale[99])
	}
}

// Smoothing turns a constant learning rate into values that differ by rounding errors.
func TestConstantMetric(t *testing.T) {
	for _, log := range []bool{false, true} {
		r := Run{Name: "constant"}
		for i := range 200 {
			r.Points = append(r.Points, Point{i, 1e-4})
		}
		c := LearningCurves([]Run{r}, LearningCurvesOptions{Label: "lr", Column: "lr", Smooth: 0.9, LogY: log})
		if _, y := c.Panels[0].limits(); !(y[0] < 0.9e-4 && y[1] > 1.1e-4) {
			t.Fatalf("the axis, logarithmic %t, is from %g to %g", log, y[0], y[1])
		}
		saved(t, c.Save)
	}
}

func TestSaveRefuses(t *testing.T) {
	dir := t.TempDir()
	good, err := AlphaBar(50)
	if err != nil {
		t.Fatal(err)
	}
	nan := []float64{math.NaN(), math.Inf(1)}
	blocked := filepath.Join(dir, "file")
	if err := os.WriteFile(blocked, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		chart Chart
		path  string
		want  string
	}{
		{good, filepath.Join(dir, "a.pdf"), "not as .pdf"},
		{good, "", "names no file"},
		{good, dir + "/", "names no file"},
		{good, filepath.Join(blocked, "a.png"), "folder"},
		{Chart{}, filepath.Join(dir, "a.png"), "nothing to draw"},
		{Chart{Panels: []Panel{{Y: Axis{Label: "loss"}, Lines: []Line{{X: nan, Y: nan}}}}}, filepath.Join(dir, "a.png"), `"loss" can be drawn: no value is finite`},
		{Chart{Panels: []Panel{{Y: Axis{Label: "loss", Log: true}, Lines: []Line{{X: []float64{1}, Y: []float64{-1}}}}}}, filepath.Join(dir, "a.png"), "no value is above 0"},
		{Chart{Panels: []Panel{{Lines: []Line{{Name: "l", X: []float64{1}, Y: nan}}}}}, filepath.Join(dir, "a.png"), "l: 1 positions for 2"},
	} {
		files, err := c.chart.Save(c.path)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: files %v, error %v, want %q", c.path, files, err, c.want)
		}
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("files were left behind: %v", left)
	}
}

func TestPaths(t *testing.T) {
	for _, path := range []string{"d/a.png", "d/a.svg", "d/a.csv", "d/a", "d/a.PNG"} {
		png, svg, table, err := Paths(path)
		if err != nil || png != "d/a.png" || svg != "d/a.svg" || table != "d/a.csv" {
			t.Errorf("%s: %s, %s, %s, %v", path, png, svg, table, err)
		}
	}
}

func TestTicks(t *testing.T) {
	for _, c := range []struct {
		log       bool
		low, high float64
		want      string
	}{
		{false, 0, 1, "0.0 0.2 0.4 0.6 0.8 1.0"},
		{false, -3, 4, "-3 -2 -1 0 1 2 3 4"},
		{false, 0, 30_000, "0 5K 10K 15K 20K 25K 30K"},
		{false, 0, 2e6, "0 200K 400K 600K 800K 1M 1.2M 1.4M 1.6M 1.8M 2M"},
		{true, 1e-5, 1, "1e-5 1e-4 0.001 0.01 0.1 1"},
		{true, 3, 40, "5 10 20"},
		{true, 3, 9, "3 4 5 6 7 8 9"},
		{true, 1e-12, 1, "1e-12 1e-10 1e-8 1e-6 1e-4 0.01 1"},
	} {
		ticks := linearTicks(c.low, c.high)
		if c.log {
			ticks = logTicks(c.low, c.high)
		}
		var labels []string
		for _, tick := range ticks {
			if tick.Label != "" {
				labels = append(labels, tick.Label)
			}
		}
		if got := strings.Join(labels, " "); got != c.want {
			t.Errorf("%v..%v: %s, want %s", c.low, c.high, got, c.want)
		}
	}
}

// Curves of several models are told apart by name, and the CSV has all values.
func TestSamplingSteps(t *testing.T) {
	one := []SamplerPoint{
		{Model: "a", Sampler: "heun", Spacing: "logsnr", Timesteps: 5, Evaluations: 9, Value: 0.5, Seconds: 2},
		{Model: "a", Sampler: "heun", Spacing: "logsnr", Timesteps: 10, Evaluations: 19, Value: 0.1, Seconds: 4},
	}
	metric := SampleMetric{Label: "KID", Column: "kid", About: "KID."}
	chart := SamplingSteps(one, metric)
	if p := chart.Panels[0]; p.Lines[0].Name != "heun, logsnr" || !slices.Equal(p.Lines[0].X, []float64{9, 19}) || p.Y.Label != "KID" {
		t.Errorf("%+v", p)
	}
	if rows := chart.Data.Rows; len(rows) != 2 || !slices.Equal(rows[1].Values, []float64{10, 19, 0.1}) {
		t.Errorf("rows %v", rows)
	}
	both := append(one, SamplerPoint{Model: "b", Sampler: "heun", Spacing: "logsnr"})
	if name := SamplingSteps(both, metric).Panels[0].Lines[1].Name; name != "b: heun, logsnr" {
		t.Errorf("the second model's curve is %q", name)
	}
	if few := FewSteps(both); len(few.Panels) != 2 || !slices.Equal(few.Panels[0].Lines[0].Y, []float64{0.5, 0.1}) || !slices.Equal(few.Data.Rows[1].Values, []float64{10, 19, 0.1, 4}) {
		t.Errorf("%+v", few)
	}
}
