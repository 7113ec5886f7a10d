package identify

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/wangkuiyi/gotorch/pt"

	"iddpm/model"
)

// shapesOf is a state_dict without data.
func shapesOf(parameters []*model.Parameter) *pt.Dict {
	d := new(pt.Dict)
	for _, p := range parameters {
		d.Set(p.Name, &pt.Tensor{DType: pt.Float32, Shape: p.Shape})
	}
	return d
}

func planDict(t testing.TB, u model.UNetConfig) *pt.Dict {
	t.Helper()
	plan, err := model.Plan(u)
	if err != nil {
		t.Fatalf("%+v: %v", u, err)
	}
	return shapesOf(plan.Parameters())
}

// told leaves of a configuration what shapes tell.
func told(c model.Config) model.Config {
	c.NumHeads, c.NumHeadsUpsample, c.NumHeadChannels, c.NewAttentionOrder = 0, 0, 0, false
	c.Dropout, c.UseCheckpoint = 0, false
	if len(c.ChannelMult) == 1 {
		c.ResBlockUpDown = false
	}
	return c
}

// random returns a network of any shape.
func random(r *rand.Rand) model.Config {
	c := model.Config{
		InChannels: 1 + 2*r.IntN(2), NumChannels: 32 * (1 + r.IntN(3)), NumResBlocks: r.IntN(4), NumHeads: 1,
		LearnSigma: r.IntN(2) == 0, UseScaleShiftNorm: r.IntN(2) == 0, ResBlockUpDown: r.IntN(2) == 0, NewAttentionOrder: r.IntN(2) == 0,
	}
	levels := 1 + r.IntN(5)
	c.ImageSize = 3 << (levels + 1)
	for level := range levels {
		c.ChannelMult = append(c.ChannelMult, float64(1+r.IntN(3)))
		if r.IntN(2) == 0 {
			c.AttentionResolutions = append(c.AttentionResolutions, c.ImageSize>>level)
		}
	}
	if r.IntN(3) == 0 {
		c.ClassCond, c.NumClasses = true, 1+r.IntN(5)
	}
	if r.IntN(3) == 0 {
		c.SmallSize = c.ImageSize / 2
	}
	if r.IntN(4) == 0 {
		c.StemChannels = 32 * int(c.ChannelMult[0]+1) * c.NumChannels / 32
	}
	if levels == 1 {
		c.ResBlockUpDown = false
	}
	if c.NumResBlocks == 0 && c.StemChannels == 0 {
		c.ChannelMult[0] = 1 // else the encoder never reaches the first level's width
	}
	return c
}

// TestDenoisers tells random networks from their shapes alone.
func TestDenoisers(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 300 {
		want := random(r)
		u, err := want.UNet()
		if err != nil {
			t.Fatalf("%+v: %v", want, err)
		}
		n, err := Of(planDict(t, u))
		if err != nil {
			t.Fatalf("%d: %+v: %v", i, want, err)
		}
		got := model.Config{ImageSize: want.ImageSize, SmallSize: want.SmallSize, ClassDropout: 0}
		n.Apply(&got)
		if want = told(want); !reflect.DeepEqual(told(got), want) {
			t.Fatalf("%d: got  %+v\nwant %+v", i, got, want)
		}
	}
}

// TestNullClass: the last row of the label embedding is that of the null class if there is class
// dropout, which shapes do not tell.
func TestNullClass(t *testing.T) {
	c := model.Config{ImageSize: 8, InChannels: 3, NumChannels: 32, ChannelMult: []float64{1}, NumHeads: 1, ClassCond: true, NumClasses: 4, ClassDropout: 0.1}
	u, err := c.UNet()
	if err != nil {
		t.Fatal(err)
	}
	n, err := Of(planDict(t, u))
	if err != nil {
		t.Fatal(err)
	}
	with, without := model.Config{ImageSize: 8, ClassDropout: 0.5}, model.Config{ImageSize: 8}
	n.Apply(&with)
	n.Apply(&without)
	if with.NumClasses != 4 || without.NumClasses != 5 {
		t.Errorf("%d classes with a null class, %d without", with.NumClasses, without.NumClasses)
	}
}

// TestMultiplier: every width is that of its multiplier.
func TestMultiplier(t *testing.T) {
	for channels := 1; channels < 200; channels++ {
		for width := 1; width < 400; width++ {
			if got := int(multiplier(width, channels) * float64(channels)); got != width {
				t.Fatalf("%d of %d channels: the multiplier gives %d", width, channels, got)
			}
		}
	}
}

// TestClassifiers tells classifiers of all poolings.
func TestClassifiers(t *testing.T) {
	for _, size := range []int{32, 64, 128, 256, 512} {
		for _, pool := range []string{model.PoolAdaptive, model.PoolAttention, model.PoolSpatial, model.PoolSpatialV2} {
			for _, resamples := range []bool{false, true} {
				want := model.DefaultClassifier()
				want.ImageSize, want.NumClasses, want.Pool, want.ResBlockUpDown, want.Depth = size, 7, pool, resamples, 1+size/64
				e, err := want.Encoder()
				if err != nil {
					t.Fatal(err)
				}
				plan, err := model.PlanClassifier(e)
				if err != nil {
					t.Fatal(err)
				}
				n, err := Of(shapesOf(plan.Parameters()))
				got := model.ClassifierConfig{ImageSize: size}
				n.ApplyClassifier(&got)
				got.AttentionResolutions, want.AttentionResolutions = limited(got.AttentionResolutions, size, len(e.ChannelMult)), limited(want.AttentionResolutions, size, len(e.ChannelMult))
				if err != nil || !reflect.DeepEqual(got, want) {
					t.Errorf("%d pixels, %s, %t: got %+v, want %+v (%v)", size, pool, resamples, got, want, err)
				}
				if known := map[bool]int{true: size}[pool == model.PoolAttention]; n.ImageSize != known {
					t.Errorf("%d pixels, %s: told %d pixels", size, pool, n.ImageSize)
				}
			}
		}
	}
}

// limited leaves the resolutions that are those of a level.
func limited(resolutions []int, size, levels int) (used []int) {
	for _, r := range resolutions {
		if r <= size && size/r < 1<<levels {
			used = append(used, r)
		}
	}
	return used
}

func TestRefuses(t *testing.T) {
	c := model.Config{ImageSize: 16, InChannels: 3, NumChannels: 32, NumResBlocks: 1, ChannelMult: []float64{1, 2}, NumHeads: 1}
	u, err := c.UNet()
	if err != nil {
		t.Fatal(err)
	}
	without := func(name string) *pt.Dict {
		d := new(pt.Dict)
		for key, value := range planDict(t, u).All() {
			if key != name {
				d.Set(key, value)
			}
		}
		return d
	}
	changed := func(name string, shape ...int64) *pt.Dict {
		d := planDict(t, u)
		d.Set(name, &pt.Tensor{DType: pt.Float32, Shape: shape})
		return d
	}
	for want, d := range map[string]*pt.Dict{
		"it has no time_embed.0.weight":                 without("time_embed.0.weight"),
		"missing: middle_block.1.norm.bias":             without("middle_block.1.norm.bias"),
		"unknown: extra":                                changed("extra", 1),
		"shape: time_embed.2.bias is [5]":               changed("time_embed.2.bias", 5),
		"num-channels must be in":                       changed("time_embed.0.weight", 4, 1<<40),
		"do not divide into 2 levels":                   changed("output_blocks.9.0.out_layers.3.bias", 32),
		"neither output_blocks nor the head":            shapesOf([]*model.Parameter{{Name: "time_embed.0.weight", Shape: []int64{128, 32}}, {Name: "input_blocks.0.0.weight", Shape: []int64{32, 3, 3, 3}}}),
		"it has no input_blocks.0.0.weight":             without("input_blocks.0.0.weight"),
		"level 0 has 7 channels, which is not":          changed("output_blocks.2.0.out_layers.3.bias", 7),
		"shape: middle_block.0.out_layers.3.bias is []": changed("middle_block.0.out_layers.3.bias"),
	} {
		_, err := Of(d)
		var unknown *Error
		var unfit *model.StateDictError
		if err == nil || !strings.Contains(err.Error(), want) || !errors.As(err, &unknown) && !errors.As(err, &unfit) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// FuzzOf reads lists of a parameter per line, NAME DIM DIM ..., which must not panic, nor be told
// wrongly.
func FuzzOf(f *testing.F) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 5 {
		u, _ := random(r).UNet()
		var text strings.Builder
		for key, value := range planDict(f, u).All() {
			fmt.Fprintf(&text, "%v %s\n", key, strings.Trim(fmt.Sprint(value.(*pt.Tensor).Shape), "[]"))
		}
		f.Add(text.String())
	}
	f.Fuzz(func(t *testing.T, text string) {
		d := new(pt.Dict)
		for line := range strings.Lines(text) {
			words := strings.Fields(line)
			if len(words) == 0 {
				continue
			}
			tensor := &pt.Tensor{DType: pt.Float32}
			for _, word := range words[1:] {
				if n, err := strconv.ParseInt(word, 10, 64); err == nil && n >= 0 {
					tensor.Shape = append(tensor.Shape, n)
				}
			}
			d.Set(words[0], tensor)
		}
		n, err := Of(d)
		if err != nil {
			return
		}
		if plan, err := n.plan(); err != nil || plan.CheckStateDict(d) != nil {
			t.Errorf("told %v, which has other parameters (%v)", n, err)
		}
		_ = n.String()
	})
}
