package checkpoint

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/wangkuiyi/gotorch/pt"

	"iddpm/model"
)

// Trainers save networks within dicts and modules of their own: {"model": ..., "ema": ...},
// Lightning's {"state_dict": ...} of modules "model.", EMA modules beside the network. A network is
// recognised by the parameter that all of ours begin with.

// firstParameter is in every network of [model], denoiser or classifier.
const firstParameter = "time_embed.0.weight"

// wrapped is a network's state_dict within a file of another program.
type wrapped struct {
	index  string // as in Python: ["ema"]["0.9999"]; "": the file's own dict
	prefix string // of the names, such as "model."
	key    string // the last key of index
	dict   *pt.Dict
}

// String says where the network is, such as: ["state_dict"], names that begin with "model.".
func (w wrapped) String() string {
	switch {
	case w.prefix == "":
		return w.index
	case w.index == "":
		return fmt.Sprintf("names that begin with %q", w.prefix)
	}
	return fmt.Sprintf("%s, names that begin with %q", w.index, w.prefix)
}

// averaged reports whether the names say that these are EMA weights.
func (w wrapped) averaged() bool {
	return strings.Contains(strings.ToLower(w.index+w.prefix), "ema")
}

// networksIn finds the networks in a dict and in the dicts in it, down to a depth, without
// optimizers' states.
func networksIn(dict *pt.Dict, at wrapped, depth int) (found []wrapped) {
	for key, value := range dict.All() {
		name, ok := key.(string)
		if !ok {
			continue
		}
		switch value := value.(type) {
		case *pt.Tensor:
			prefix, is := strings.CutSuffix(name, firstParameter)
			if is && (prefix == "" || strings.HasSuffix(prefix, ".")) && len(value.Shape) == 2 {
				found = append(found, wrapped{at.index, prefix, at.key, within(dict, prefix)})
			}
		case *pt.Dict:
			if depth > 0 && !isOptimizer(value) {
				found = append(found, networksIn(value, wrapped{index: at.index + "[" + pythonString(name) + "]", key: name}, depth-1)...)
			}
		}
	}
	return found
}

// within returns the tensors whose names begin with prefix, without it.
func within(dict *pt.Dict, prefix string) *pt.Dict {
	part := &pt.Dict{Ordered: dict.Ordered}
	for key, value := range dict.All() {
		name, _ := key.(string)
		if _, ok := value.(*pt.Tensor); ok && strings.HasPrefix(name, prefix) {
			part.Set(strings.TrimPrefix(name, prefix), value)
		}
	}
	return part
}

// choose returns the weights to use by default, those of the last step if there are both, and the
// others. EMA weights are preferred, those of the highest decay rate if keys are rates. ok is
// false if the choice is the user's.
func choose(all []wrapped) (chosen wrapped, raw *pt.Dict, ok bool) {
	var averages, others []wrapped
	for _, w := range all {
		if w.averaged() {
			averages = append(averages, w)
		} else {
			others = append(others, w)
		}
	}
	if len(others) == 1 {
		raw = others[0].dict
	}
	rate := func(w wrapped) float64 {
		r, err := strconv.ParseFloat(w.key, 64)
		if err != nil {
			return -1
		}
		return r
	}
	slices.SortStableFunc(averages, func(a, b wrapped) int {
		return cmp.Compare(rate(b), rate(a))
	})
	switch {
	case len(averages) == 1 || len(averages) > 1 && rate(averages[0]) > rate(averages[1]):
		return averages[0], raw, true
	case len(averages) == 0 && len(others) == 1:
		return others[0], nil, true
	}
	return wrapped{}, nil, false
}

// readWrapped uses a network within a file of another program. ok is false if there is none, or
// several of which only the user knows which one to use.
func (c *Checkpoint) readWrapped(dict *pt.Dict) (ok bool) {
	all := networksIn(dict, wrapped{}, 2)
	chosen, raw, ok := choose(all)
	if !ok {
		return false
	}
	c.Bare, c.Model, c.raw, c.Taken = true, chosen.dict, raw, chosen.String()
	for _, w := range all {
		if w != chosen {
			c.alsoHolds = append(c.alsoHolds, w.String())
		}
	}
	return true
}

// readBare reads a dict that holds only tensors as a state_dict, or finds one in the dict.
func (c *Checkpoint) readBare(dict *pt.Dict) error {
	if dict.Len() == 0 {
		return fmt.Errorf("checkpoint %s: is empty", c.Path)
	}
	stripped, prefix := model.StripPrefix(dict)
	if _, whole := stripped.Get(firstParameter); !whole || notTensors(dict) != nil {
		if c.readWrapped(dict) {
			return nil
		}
	}
	if err := foreign(c.Path, dict); err != nil {
		return fmt.Errorf("checkpoint %s: %w", c.Path, err)
	}
	c.Bare, c.Model, c.Prefix = true, stripped, prefix
	return nil
}
