package checkpoint

import (
	"slices"
	"strings"
	"sync"

	"github.com/wangkuiyi/gotorch/pt"

	"iddpm/model"
	"iddpm/runconfig"
)

// Published is a published network: what its flags in the README of its repository say. Several
// files may have one parameter list; they differ in weights and in settings of training alone.
type Published struct {
	Files  []string // names, as published
	Source string   // the repository
	Preset string   // its preset; "" for a classifier

	classifier model.ClassifierConfig // if Preset is ""
}

const (
	improvedDiffusion = "openai/improved-diffusion"
	guidedDiffusion   = "openai/guided-diffusion"
)

// published are all files that both repositories offer for download.
var published = []Published{
	{Files: []string{"cifar10_uncond_50M_500K.pt", "cifar10_uncond_vlb_50M_500K.pt"}, Source: improvedDiffusion, Preset: "cifar10"},
	{Files: []string{"imagenet64_uncond_100M_1500K.pt", "imagenet64_uncond_vlb_100M_1500K.pt"}, Source: improvedDiffusion, Preset: "imagenet64"},
	{Files: []string{"imagenet64_cond_270M_250K.pt"}, Source: improvedDiffusion, Preset: "imagenet64-cond"},
	{Files: []string{"upsample_cond_500K.pt"}, Source: improvedDiffusion, Preset: "imagenet256-upsample"},
	{Files: []string{"lsun_uncond_100M_1200K_bs128.pt", "lsun_uncond_100M_2400K_bs64.pt"}, Source: improvedDiffusion, Preset: "lsun-bedroom"},
	{Files: []string{"64x64_diffusion.pt"}, Source: guidedDiffusion, Preset: "adm-imagenet64"},
	{Files: []string{"128x128_diffusion.pt"}, Source: guidedDiffusion, Preset: "adm-imagenet128"},
	{Files: []string{"256x256_diffusion.pt"}, Source: guidedDiffusion, Preset: "adm-imagenet256"},
	{Files: []string{"256x256_diffusion_uncond.pt", "lsun_bedroom.pt", "lsun_cat.pt", "lsun_horse.pt", "lsun_horse_nodropout.pt"}, Source: guidedDiffusion, Preset: "adm-imagenet256-uncond"},
	{Files: []string{"512x512_diffusion.pt"}, Source: guidedDiffusion, Preset: "adm-imagenet512"},
	{Files: []string{"64_256_upsampler.pt"}, Source: guidedDiffusion, Preset: "adm-64-256-upsampler"},
	{Files: []string{"128_512_upsampler.pt"}, Source: guidedDiffusion, Preset: "adm-128-512-upsampler"},
	{Files: []string{"64x64_classifier.pt"}, Source: guidedDiffusion, classifier: publishedClassifier(64, 4)},
	{Files: []string{"128x128_classifier.pt"}, Source: guidedDiffusion, classifier: publishedClassifier(128, 2)},
	{Files: []string{"256x256_classifier.pt"}, Source: guidedDiffusion, classifier: publishedClassifier(256, 2)},
	{Files: []string{"512x512_classifier.pt"}, Source: guidedDiffusion, classifier: publishedClassifier(512, 2)},
}

func publishedClassifier(size, depth int) model.ClassifierConfig {
	c := model.DefaultClassifier()
	c.ImageSize, c.Depth = size, depth
	return c
}

// PublishedModels returns the published networks.
func PublishedModels() []Published { return slices.Clone(published) }

// Config returns the network's configuration, with those settings of its training that are known.
func (p Published) Config() runconfig.Config {
	if p.Preset == "" {
		c, classifier := runconfig.Defaults(), p.classifier
		c.Classifier = &classifier
		c.Model.ImageSize, c.Model.ClassCond, c.Model.NumClasses = classifier.ImageSize, true, classifier.NumClasses
		return c
	}
	preset, err := runconfig.LookupPreset(p.Preset)
	if err != nil {
		panic(err) // a test looks all of them up
	}
	return preset.Config
}

// String returns the names of the files.
func (p Published) String() string {
	return strings.Join(p.Files, " or ") + " of " + p.Source
}

// Parameters returns the names and shapes of the network's parameters, in PyTorch's order.
func (p Published) Parameters() []*model.Parameter {
	c := p.Config()
	if c.Classifier != nil {
		if plan, err := c.Classifier.Plan(); err == nil {
			return plan.Parameters()
		}
		return nil
	}
	if plan, err := c.Model.Plan(); err == nil {
		return plan.Parameters()
	}
	return nil
}

// publishedParameters are the parameter lists of published, computed once.
var publishedParameters = sync.OnceValue(func() (lists [][]*model.Parameter) {
	for _, p := range published {
		lists = append(lists, p.Parameters())
	}
	return lists
})

// lookupPublished returns the published network that has exactly the parameters of a state_dict,
// or nil.
func lookupPublished(dict *pt.Dict) *Published {
	for i, parameters := range publishedParameters() {
		if len(parameters) > 0 && sameParameters(parameters, dict) {
			found := published[i]
			return &found
		}
	}
	return nil
}

func sameParameters(parameters []*model.Parameter, dict *pt.Dict) bool {
	if len(parameters) != dict.Len() {
		return false
	}
	for _, p := range parameters {
		value, _ := dict.Get(p.Name)
		if t, ok := value.(*pt.Tensor); !ok || !slices.Equal(t.Shape, p.Shape) {
			return false
		}
	}
	return true
}
