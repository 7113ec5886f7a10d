package model

import (
	"fmt"
	"slices"
	"strings"

	"github.com/wangkuiyi/gotorch"
	"github.com/wangkuiyi/gotorch/pt"
)

// StateDict copies the weights to host memory, as PyTorch's state_dict, an OrderedDict.
func (m *encoder) StateDict() *pt.Dict { return m.PackStateDict(m.Tensors()) }

// PackStateDict copies tensors, one per parameter in order, to host memory under the
// parameters' names: weights, or EMA weights.
func (m *encoder) PackStateDict(tensors []gotorch.Tensor) *pt.Dict {
	dict := &pt.Dict{Ordered: true}
	for i, p := range m.params {
		dict.Set(p.Name, tensors[i].PT())
	}
	return dict
}

// LoadStateDict overwrites the weights with those of a state_dict, converted to float32.
// It is strict: it returns a [*StateDictError] that lists missing, unknown and mismatched
// parameters, and then changes no weight.
func (m *encoder) LoadStateDict(dict *pt.Dict) error {
	return m.UnpackStateDict(dict, m.Tensors())
}

// UnpackStateDict is [UNet.LoadStateDict] into the given tensors.
func (m *encoder) UnpackStateDict(dict *pt.Dict, tensors []gotorch.Tensor) error {
	if err := m.CheckStateDict(dict); err != nil {
		return err
	}
	gotorch.NoGrad(func() {
		for i, p := range m.params {
			value, _ := dict.Get(p.Name)
			gotorch.Scope(func() { tensors[i].CopyI(gotorch.FromPT(value.(*pt.Tensor))) })
		}
	})
	return nil
}

// CheckStateDict returns the error of [UNet.LoadStateDict] without loading. It works on
// a network of [Plan].
func (m *encoder) CheckStateDict(dict *pt.Dict) error {
	if mismatches := m.Mismatches(dict); len(mismatches) > 0 {
		return &StateDictError{mismatches}
	}
	return nil
}

// StateDictError reports that a state_dict does not match a network.
type StateDictError struct {
	Mismatches []*Mismatch // at least one
}

// shownMismatches is the number of mismatches of each kind in the error message.
const shownMismatches = 2

// Error counts the mismatches and lists the first of each kind.
func (e *StateDictError) Error() string {
	kinds := []struct{ name, count string }{{"missing", "missing"}, {"unknown", "unknown"}, {"shape", "with another shape"}}
	var counts, lines []string
	for _, kind := range kinds {
		n := 0
		for _, x := range e.Mismatches {
			if x.kind() != kind.name {
				continue
			}
			if n++; n <= shownMismatches {
				lines = append(lines, x.Error())
			}
		}
		if n > 0 {
			counts = append(counts, fmt.Sprintf("%d %s", n, kind.count))
		}
	}
	if more := len(e.Mismatches) - len(lines); more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	return fmt.Sprintf("the weights do not match the network (%s):\n%s", strings.Join(counts, ", "), strings.Join(lines, "\n"))
}

// Mismatch is one parameter that differs between a state_dict and a network.
type Mismatch struct {
	Name string
	Want []int64 // the network's shape; nil: no such parameter
	Got  []int64 // the state_dict's shape; nil: no such tensor
}

// kind is the prefix of [Mismatch.Error].
func (x *Mismatch) kind() string {
	switch {
	case x.Got == nil:
		return "missing"
	case x.Want == nil:
		return "unknown"
	}
	return "shape"
}

func (x *Mismatch) Error() string {
	switch x.kind() {
	case "missing":
		return fmt.Sprintf("missing: %s %v", x.Name, x.Want)
	case "unknown":
		return fmt.Sprintf("unknown: %s %v", x.Name, x.Got)
	}
	return fmt.Sprintf("shape: %s is %v, the network needs %v", x.Name, x.Got, x.Want)
}

// Mismatches compares a state_dict with the network's names and shapes.
func (m *encoder) Mismatches(dict *pt.Dict) (all []*Mismatch) {
	known := map[any]bool{}
	for _, p := range m.params {
		known[p.Name] = true
		value, _ := dict.Get(p.Name)
		tensor, ok := value.(*pt.Tensor)
		if !ok {
			all = append(all, &Mismatch{Name: p.Name, Want: p.Shape})
		} else if !slices.Equal(tensor.Shape, p.Shape) {
			all = append(all, &Mismatch{Name: p.Name, Want: p.Shape, Got: shapeOf(tensor)})
		}
	}
	for key, value := range dict.All() {
		if known[key] {
			continue
		}
		tensor, ok := value.(*pt.Tensor)
		if !ok {
			tensor = &pt.Tensor{}
		}
		all = append(all, &Mismatch{Name: fmt.Sprint(key), Got: shapeOf(tensor)})
	}
	return all
}

// shapeOf returns a tensor's shape, not nil for a scalar.
func shapeOf(t *pt.Tensor) []int64 { return append([]int64{}, t.Shape...) }

// topModules are a UNet's top-level modules. A name in this list is no wrapper's.
var topModules = []string{"time_embed", "label_emb", "input_blocks", "middle_block", "out"}

// StripPrefix removes the wrapper modules that all names of a state_dict start with, such
// as "module." of DistributedDataParallel, "_orig_mod." of torch.compile or "model." of
// Lightning. prefix is the removed part; if it is empty, stripped is dict itself.
func StripPrefix(dict *pt.Dict) (stripped *pt.Dict, prefix string) {
	for {
		wrapper := sharedModule(dict, prefix)
		if wrapper == "" {
			break
		}
		prefix += wrapper
	}
	if prefix == "" {
		return dict, ""
	}
	stripped = &pt.Dict{Ordered: dict.Ordered}
	for key, value := range dict.All() {
		stripped.Set(strings.TrimPrefix(key.(string), prefix), value)
	}
	return stripped, prefix
}

// sharedModule returns the module, with its dot, that follows the prefix in every name, or
// "" if there is none or it is one of topModules.
func sharedModule(dict *pt.Dict, prefix string) (module string) {
	for key := range dict.All() {
		name, ok := key.(string)
		first, _, nested := strings.Cut(strings.TrimPrefix(name, prefix), ".")
		if !ok || !nested || module != "" && first+"." != module || slices.Contains(topModules, first) {
			return ""
		}
		module = first + "."
	}
	return module
}
