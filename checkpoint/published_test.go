package checkpoint

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/wangkuiyi/gotorch/pt"

	"iddpm/runconfig"
)

// publishedWeights is the parameter list of a published network, without data.
func publishedWeights(t *testing.T, p Published) *pt.Dict {
	t.Helper()
	d := new(pt.Dict)
	for _, parameter := range p.Parameters() {
		d.Set(parameter.Name, &pt.Tensor{DType: pt.Float32, Shape: parameter.Shape})
	}
	if d.Len() == 0 {
		t.Fatalf("%s has no parameters", p)
	}
	return d
}

// TestPublished tells every published file from its parameter list, and completes the
// configuration that its README names.
func TestPublished(t *testing.T) {
	files := 0
	for _, p := range PublishedModels() {
		files += len(p.Files)
		c := &Checkpoint{Path: p.Files[0], Bare: true, Model: publishedWeights(t, p)}
		found, err := c.Complete()
		if err != nil || found.Published == nil || !slices.Equal(found.Published.Files, p.Files) {
			t.Errorf("%s: told %v, %v", p, found.Published, err)
			continue
		}
		// What shapes alone tell agrees with the flags of the README.
		want := p.Config()
		if p.Preset == "" {
			if !reflect.DeepEqual(c.Config.Classifier, want.Classifier) {
				t.Errorf("%s: got %+v, want %+v", p, c.Config.Classifier, want.Classifier)
			}
			continue
		}
		if wrong := found.Contradictions(want.Model); len(wrong) > 0 {
			t.Errorf("%s: %v", p, wrong)
		}
		got := c.Config
		got.Model.AttentionResolutions, want.Model.AttentionResolutions = nil, nil // in another order, or of no level
		if !reflect.DeepEqual(got.Model, want.Model) || got.Diffusion != want.Diffusion {
			t.Errorf("%s: got %+v, want %+v", p, got.Model, want.Model)
		}
		if found.ImageSize() != want.Model.ImageSize || len(found.Assumed(got)) > 0 {
			t.Errorf("%s: %d pixels, assumed %v", p, found.ImageSize(), found.Assumed(got))
		}
	}
	if files != 23 {
		t.Errorf("%d files, but the repositories offer 8 and 15", files)
	}
}

// TestPublishedParameters compares every parameter list with that of OpenAI's own code
// (scripts/make_published_testdata.py).
func TestPublishedParameters(t *testing.T) {
	text, err := os.ReadFile("testdata/published.json")
	if err != nil {
		t.Fatal(err)
	}
	type list struct {
		Tensors int
		Values  int64
		SHA256  string
	}
	var want map[string]list
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	for _, p := range PublishedModels() {
		var got list
		var lines []string
		for _, parameter := range p.Parameters() {
			values, shape := int64(1), make([]string, len(parameter.Shape))
			for i, size := range parameter.Shape {
				values *= size
				shape[i] = strconv.FormatInt(size, 10)
			}
			got.Values += values
			lines = append(lines, parameter.Name+" "+strings.Join(shape, "x")+"\n")
		}
		slices.Sort(lines)
		got.Tensors, got.SHA256 = len(lines), fmt.Sprintf("%x", sha256.Sum256([]byte(strings.Join(lines, ""))))
		if got != want[p.Files[0]] {
			t.Errorf("%s: got %+v, want %+v", p, got, want[p.Files[0]])
		}
	}
}

// TestUnpublished: one more class is another network, of which heads and schedule are assumed.
func TestUnpublished(t *testing.T) {
	p := PublishedModels()[2]
	c := &Checkpoint{Path: "p", Bare: true, Model: publishedWeights(t, p)}
	c.Model.Set("label_emb.weight", &pt.Tensor{DType: pt.Float32, Shape: []int64{7, 768}})
	found, err := c.Complete()
	if err != nil || found.Published != nil || c.Config.Model.NumClasses != 7 || c.Config.Model.ImageSize != 64 {
		t.Errorf("%+v, %v", c.Config.Model, err)
	}
	if assumed := fmt.Sprint(found.Assumed(c.Config)); !strings.Contains(assumed, "num-heads 4") || !strings.Contains(assumed, "diffusion-steps 1000") {
		t.Errorf("assumed %v", assumed)
	}
	if err := c.CompletePublished(); err == nil || !strings.Contains(err.Error(), "no published network") {
		t.Errorf("without a configuration: %v", err)
	}
	like := p.Config()
	if found, err = c.CompleteLike(like); err != nil || c.Config.Diffusion != like.Diffusion || c.Config.Model.NumHeads != 4 {
		t.Errorf("like another: %+v, %v", c.Config, err)
	}
}

func TestContradictions(t *testing.T) {
	found, err := (&Checkpoint{Model: publishedWeights(t, PublishedModels()[0])}).Identify()
	if err != nil {
		t.Fatal(err)
	}
	given := PublishedModels()[0].Config().Model
	given.AttentionResolutions = []int{8, 16, 3} // 3 is of no level
	if wrong := found.Contradictions(given); len(wrong) > 0 {
		t.Errorf("the right flags: %v", wrong)
	}
	given.NumChannels, given.NumResBlocks, given.ChannelMult, given.AttentionResolutions = 64, 2, []float64{1, 2}, []int{32}
	given.LearnSigma, given.ClassCond, given.NumClasses, given.UseScaleShiftNorm, given.ResBlockUpDown, given.SmallSize = false, true, 5, false, true, 8
	var got []string
	for _, x := range found.Contradictions(given) {
		got = append(got, x.Error())
	}
	want := []string{
		"super-res true: the weights have false", "num-channels 64: the weights have 128", "num-res-blocks 2: the weights have 3",
		"channel-mult 1,2: the weights have 1,2,2,2", "attention-resolutions 32: the weights have 16,8", "learn-sigma false: the weights have true",
		"class-cond true: the weights have false", "use-scale-shift-norm false: the weights have true", "resblock-updown true: the weights have false",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if found, err = (&Checkpoint{Model: publishedWeights(t, PublishedModels()[12])}).Identify(); err != nil {
		t.Fatal(err)
	}
	classifier := *PublishedModels()[12].Config().Classifier
	classifier.AttentionResolutions = []int{16, 8, 32, 1}
	if wrong := found.ClassifierContradictions(classifier); len(wrong) > 0 {
		t.Errorf("the right flags of a classifier: %v", wrong)
	}
	classifier.Depth, classifier.Pool, classifier.AttentionResolutions = 2, "max", nil
	if wrong := fmt.Sprint(found.ClassifierContradictions(classifier)); wrong != "[classifier-depth 2: the weights have 4 classifier-attention-resolutions none: the weights have 32,16,8 classifier-pool max: the weights have attention]" {
		t.Errorf("got %s", wrong)
	}
}

// TestAssumedRescaling checks that rescaled timesteps are assumed only where they change the embedding.
func TestAssumedRescaling(t *testing.T) {
	c := runconfig.Defaults()
	for steps, want := range map[int]bool{1000: false, 4000: true} {
		c.Diffusion.Steps = steps
		if got := (Identified{}).Assumed(c); slices.Contains(got, "rescale-timesteps true") != want || strings.Contains(fmt.Sprint(got), "rescale-timesteps false") {
			t.Errorf("%d timesteps: assumed %v", steps, got)
		}
	}
}
