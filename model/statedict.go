package model

import (
	"errors"
	"fmt"
	"slices"

	"github.com/wangkuiyi/gotorch"
	"github.com/wangkuiyi/gotorch/pt"
)

// StateDict copies the weights to host memory, as the OrderedDict that PyTorch
// calls state_dict.
func (m *UNet) StateDict() *pt.Dict { return m.PackStateDict(m.Tensors()) }

// PackStateDict copies tensors, one per parameter in the parameters' order, to
// host memory under the parameters' names: weights, or a moving average of them.
func (m *UNet) PackStateDict(tensors []gotorch.Tensor) *pt.Dict {
	dict := &pt.Dict{Ordered: true}
	for i, p := range m.params {
		dict.Set(p.Name, tensors[i].PT())
	}
	return dict
}

// LoadStateDict overwrites the weights with those of a state_dict, converting
// them to float32. It is strict: an error lists every parameter that is
// missing, unknown or of another shape, and then no weight has changed.
func (m *UNet) LoadStateDict(dict *pt.Dict) error {
	return m.UnpackStateDict(dict, m.Tensors())
}

// UnpackStateDict is [UNet.LoadStateDict] into other tensors than the weights.
func (m *UNet) UnpackStateDict(dict *pt.Dict, tensors []gotorch.Tensor) error {
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

// CheckStateDict returns the error that [UNet.LoadStateDict] has for a state_dict
// that does not fit. A network of [Plan] will do.
func (m *UNet) CheckStateDict(dict *pt.Dict) error {
	mismatches := m.Mismatches(dict)
	if len(mismatches) == 0 {
		return nil
	}
	errs := make([]error, len(mismatches))
	for i, x := range mismatches {
		errs[i] = x
	}
	return fmt.Errorf("the weights do not fit the network:\n%w", errors.Join(errs...))
}

// Mismatch is one parameter in which a state_dict and a network disagree.
type Mismatch struct {
	Name string
	Want []int64 // the network's shape; nil: the network has no such parameter
	Got  []int64 // the state_dict's shape; nil: it has no such tensor
}

func (x *Mismatch) Error() string {
	switch {
	case x.Got == nil:
		return fmt.Sprintf("missing: %s %v", x.Name, x.Want)
	case x.Want == nil:
		return fmt.Sprintf("unknown: %s %v", x.Name, x.Got)
	}
	return fmt.Sprintf("shape: %s is %v, the network needs %v", x.Name, x.Got, x.Want)
}

// Mismatches compares a state_dict with the network's names and shapes.
func (m *UNet) Mismatches(dict *pt.Dict) (all []*Mismatch) {
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
