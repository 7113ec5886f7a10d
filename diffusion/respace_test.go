package diffusion

import (
	"slices"
	"strings"
	"testing"

	"iddpm/internal/golden"
)

func TestSpaceTimesteps(t *testing.T) {
	for _, c := range []struct {
		steps int
		spec  string
		want  []int
	}{
		{5, "", []int{0, 1, 2, 3, 4}},
		{5, "5", []int{0, 1, 2, 3, 4}},
		{10, "2", []int{0, 9}},
		{10, "4", []int{0, 3, 6, 9}},
		{6, "3", []int{0, 2, 5}}, // 2.5 rounds to even
		{8, "3", []int{0, 4, 7}}, // 3.5 rounds to even
		{10, "ddim5", []int{0, 2, 4, 6, 8}},
		{10, " 2 , 1", []int{0, 4, 5}}, // spaces are ignored
		{10, "1,0,1", []int{0, 7}},
		{7, "1,1,1", []int{0, 3, 5}}, // the first section has the extra step
		{2, "1,1,0", []int{0, 1}},    // more sections than steps
	} {
		got, err := SpaceTimesteps(c.steps, c.spec)
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%d steps to %q: %v, error %v; want %v", c.steps, c.spec, got, err, c.want)
		}
	}
}

func TestSpaceTimestepsErrors(t *testing.T) {
	for _, c := range []struct {
		steps int
		spec  string
		want  string
	}{
		{1000, "ddim999", "ddim500 or ddim1000"},
		{1000, "ddim2000", "ddim1000"},
		{1000, "ddim0", "no integer stride"},
		{1000, "ddim1", "no integer stride"},
		{1000, "ddim-5", "must be 0 or more"},
		{1000, "ddim", "not a number"},
		{1000, "2000", "cannot keep"},
		{300, "10,200", "section 2 has 150 steps"},
		{300, "10,x", `"x"`},
		{300, "10,", `""`},
		{300, "-10,20", "must be 0 or more"},
		{300, "0,0", "at least 2"},
		{300, "1", "at least 2"},
		{300, "1.5", "not a number"},
		{300, "99999999999999999999", "not a number"},
		{1, "", "at least 2"},
	} {
		got, err := SpaceTimesteps(c.steps, c.spec)
		if !strings.Contains(errorText(err), c.want) {
			t.Errorf("%d steps to %q: %v, error %v; want one with %q", c.steps, c.spec, got, err, c.want)
		}
	}
}

func FuzzSpaceTimesteps(f *testing.F) {
	for _, spec := range []string{"", "25", "10,15,20", "ddim50", "ddim", "1,0,3", "-1", ",", "ddim999", " 7 "} {
		f.Add(1000, spec)
	}
	f.Add(2, "1,1")
	f.Fuzz(func(t *testing.T, steps int, spec string) {
		steps %= 5000
		kept, err := SpaceTimesteps(steps, spec)
		if err != nil {
			return
		}
		if len(kept) < 2 || kept[0] < 0 || kept[len(kept)-1] >= steps {
			t.Fatalf("%d steps to %q: %v", steps, spec, kept)
		}
		for i := 1; i < len(kept); i++ {
			if kept[i] <= kept[i-1] {
				t.Fatalf("%d steps to %q: %v is not ascending", steps, spec, kept)
			}
		}
	})
}

// TestRespacedCumprodsMatchBase: a respaced process has the base process's
// alphas_cumprod at the timesteps that it keeps.
func TestRespacedCumprodsMatchBase(t *testing.T) {
	for _, schedule := range []string{Linear, Cosine} {
		for _, spec := range []string{"", "7", "20,3", "ddim50"} {
			base, err := New(Config{Steps: 1000, NoiseSchedule: schedule}, cpu)
			if err != nil {
				t.Fatal(err)
			}
			spaced, err := New(Config{Steps: 1000, NoiseSchedule: schedule, TimestepRespacing: spec}, cpu)
			if err != nil {
				t.Fatal(err)
			}
			want := each(len(spaced.TimestepMap), func(i int) float64 { return base.AlphasCumprod[spaced.TimestepMap[i]] })
			golden.WithinNorms(t, schedule+" "+spec, spaced.AlphasCumprod, want, 1e-12, 1e-15)
		}
	}
}

func TestRespacedToAllMatchesBase(t *testing.T) {
	betas, err := NamedBetas(Linear, 1000)
	if err != nil {
		t.Fatal(err)
	}
	d, err := New(Config{Steps: 1000, NoiseSchedule: Linear, TimestepRespacing: "1000"}, cpu)
	if err != nil {
		t.Fatal(err)
	}
	golden.WithinRelative(t, "betas", d.Betas, betas, 1e-11)
	if d.OriginalNumSteps != 1000 || d.NumTimesteps() != 1000 {
		t.Errorf("%d of %d steps", d.NumTimesteps(), d.OriginalNumSteps)
	}
}
