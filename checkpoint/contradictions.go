package checkpoint

import (
	"cmp"
	"fmt"
	"math/bits"
	"slices"

	"iddpm/internal/commas"
	"iddpm/model"
)

// Contradiction is a setting that does not fit bare weights.
type Contradiction struct {
	Setting string // by its name in the reference, with dashes: num-channels
	Given   string // its value
	Weights string // the value that the weights have
}

func (x Contradiction) Error() string {
	return fmt.Sprintf("%s %s: the weights have %s", x.Setting, x.Given, x.Weights)
}

// contradictions collects the settings whose values differ.
type contradictions []Contradiction

func (all *contradictions) compare(setting string, given, weights any) {
	if x, y := fmt.Sprint(given), fmt.Sprint(weights); x != y {
		*all = append(*all, Contradiction{setting, x, y})
	}
}

// attention compares the levels with attention, and names them by the sizes of their feature maps.
func (all *contradictions) attention(setting string, given, weights model.UNetConfig, sizes, told []int) {
	if levels := len(weights.ChannelMult); !slices.Equal(usedFactors(given.AttentionResolutions, levels), usedFactors(weights.AttentionResolutions, levels)) {
		*all = append(*all, Contradiction{setting, list(sizes), list(told)})
	}
}

// Contradictions returns the settings of a network that do not fit the weights of a denoiser, in
// the order of their importance. It compares only what shapes tell.
func (i Identified) Contradictions(given model.Config) []Contradiction {
	told := given
	i.Network.Apply(&told)
	a, _ := given.UNet() // its errors are those of Config.Validate
	b := i.Network.UNet
	var all contradictions
	all.compare("super-res", a.SuperRes, b.SuperRes)
	all.compare("num-channels", a.ModelChannels, b.ModelChannels)
	all.compare("num-res-blocks", a.NumResBlocks, b.NumResBlocks)
	all.compare("channel-mult", list(a.ChannelMult), list(b.ChannelMult))
	all.attention("attention-resolutions", a, b, given.AttentionResolutions, told.AttentionResolutions)
	all.compare("learn-sigma", given.LearnSigma, told.LearnSigma)
	all.compare("class-cond", given.ClassCond, told.ClassCond)
	if given.ClassCond && told.ClassCond {
		all.compare("num-classes", given.NumClasses, told.NumClasses)
	}
	all.compare("use-scale-shift-norm", a.UseScaleShiftNorm, b.UseScaleShiftNorm)
	if len(b.ChannelMult) > 1 { // else nothing is resampled
		all.compare("resblock-updown", a.ResBlockUpDown, b.ResBlockUpDown)
	}
	return all
}

// ClassifierContradictions is [Identified.Contradictions] for the weights of a classifier.
func (i Identified) ClassifierContradictions(given model.ClassifierConfig) []Contradiction {
	told := given
	i.Network.ApplyClassifier(&told)
	a, _ := given.Encoder()
	b := i.Network.UNet
	var all contradictions
	all.compare("classifier-width", a.ModelChannels, b.ModelChannels)
	all.compare("classifier-depth", a.NumResBlocks, b.NumResBlocks)
	all.compare("classifier-channel-mult", list(a.ChannelMult), list(b.ChannelMult))
	all.attention("classifier-attention-resolutions", a.UNetConfig, b, given.AttentionResolutions, told.AttentionResolutions)
	all.compare("classifier-pool", given.Pool, told.Pool)
	all.compare("classifier-use-scale-shift-norm", a.UseScaleShiftNorm, b.UseScaleShiftNorm)
	if len(b.ChannelMult) > 1 {
		all.compare("classifier-resblock-updown", a.ResBlockUpDown, b.ResBlockUpDown)
	}
	return all
}

// usedFactors returns the downsampling factors that are those of a level, sorted.
func usedFactors(factors []int, levels int) (used []int) {
	for _, f := range factors {
		if f > 0 && f&(f-1) == 0 && bits.Len(uint(f)) <= levels && !slices.Contains(used, f) {
			used = append(used, f)
		}
	}
	slices.Sort(used)
	return used
}

// list spells values as flags do, or says that there are none.
func list[T any](values []T) string {
	return cmp.Or(commas.Join(values), "none")
}
