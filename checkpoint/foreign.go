package checkpoint

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/wangkuiyi/gotorch/pt"
)

// Files of other trainers, such as Lightning's or lucidrains', hold state_dicts under keys of
// their own. What readWrapped does not recognise, only the user knows how to use.

// foreign returns an error that lists what a dict holds if it is not a bare state_dict, and
// how to extract weights from it. It is nil for a dict of tensors only.
func foreign(path string, dict *pt.Dict) error {
	odd := notTensors(dict)
	if len(odd) == 0 {
		return nil
	}
	if isOptimizer(dict) {
		return fmt.Errorf("is an optimizer's state_dict (its moments), not weights: %s", besideOptimizer(path))
	}
	found := stateDicts(dict, "", 2)
	switch {
	case len(found) > 0:
		var keys []string
		for _, f := range found {
			keys = append(keys, fmt.Sprintf("%s (%d tensors)", f.index, f.tensors))
		}
		return fmt.Errorf("was written by another program: it holds weights under %s. Extract those that you want, in Python:\n%s", strings.Join(keys, ", "), extraction(path, found))
	case len(odd) < dict.Len():
		return fmt.Errorf("was written by another program: %s is not a tensor, unlike its other entries. Remove it, in Python:\n%s", odd[0],
			saveCommand(fmt.Sprintf("{k: v for k, v in torch.load(%s, map_location=\"cpu\").items() if torch.is_tensor(v)}", pythonString(path))))
	}
	return fmt.Errorf("was written by another program: %s is neither a tensor nor an entry of iddpm's format, and it holds no state_dict", odd[0])
}

// notTensors returns the keys of a dict whose values are not tensors.
func notTensors(dict *pt.Dict) (odd []string) {
	for key, value := range dict.All() {
		if _, ok := value.(*pt.Tensor); !ok {
			odd = append(odd, fmt.Sprint(key))
		}
	}
	return odd
}

// isOptimizer reports whether a dict is the state_dict of a PyTorch optimizer.
func isOptimizer(dict *pt.Dict) bool {
	_, state := dict.Get("state")
	_, groups := dict.Get("param_groups")
	return state && groups
}

// besideOptimizer returns a hint at the weights file that belongs to an optimizer's file.
func besideOptimizer(path string) string {
	m := referenceOptimizerName.FindStringSubmatch(filepath.Base(path))
	if m == nil {
		return "name the file of the weights"
	}
	return fmt.Sprintf("name model%s.pt: resuming from that reads this file too", m[1])
}

// stateDict is a nested dict of tensors in a file.
type stateDict struct {
	index   string // as in Python: ["ema"]["0.9999"]
	tensors int
	ema     bool // it holds EMA weights, under names that begin with ema_model.
}

// stateDicts finds nested dicts that hold tensors, down to a depth, without optimizers'.
func stateDicts(dict *pt.Dict, index string, depth int) (found []stateDict) {
	for key, value := range dict.All() {
		sub, ok := value.(*pt.Dict)
		if !ok || isOptimizer(sub) {
			continue
		}
		at := fmt.Sprintf("%s[%v]", index, key)
		if name, ok := key.(string); ok {
			at = fmt.Sprintf("%s[%s]", index, pythonString(name))
		}
		s := stateDict{index: at}
		for name, value := range sub.All() {
			if _, ok := value.(*pt.Tensor); ok {
				s.tensors++
				text, _ := name.(string)
				s.ema = s.ema || strings.HasPrefix(text, emaModel)
			}
		}
		if s.tensors > 0 {
			found = append(found, s)
		} else if depth > 1 {
			found = append(found, stateDicts(sub, at, depth-1)...)
		}
	}
	return found
}

// emaModel is the prefix of the names of EMA weights in ema_pytorch, which lucidrains'
// trainers use; the same dict holds the raw weights under other names.
const emaModel = "ema_model."

// extraction returns the line of Python that extracts weights from a file: EMA weights, if
// it finds any.
func extraction(path string, found []stateDict) string {
	best := max(0, slices.IndexFunc(found, func(s stateDict) bool { return s.ema || strings.Contains(strings.ToLower(s.index), "ema") }))
	load := fmt.Sprintf("torch.load(%s, map_location=\"cpu\", weights_only=False)%s", pythonString(path), found[best].index)
	if found[best].ema {
		return saveCommand(fmt.Sprintf("{k.removeprefix(%[1]q): v for k, v in %[2]s.items() if k.startswith(%[1]q)}", emaModel, load))
	}
	return saveCommand(fmt.Sprintf("{k: v for k, v in %s.items() if torch.is_tensor(v)}", load))
}

func saveCommand(what string) string {
	return fmt.Sprintf("import torch; torch.save(%s, \"weights.pt\")", what)
}

// pythonString quotes a text for Python, which accepts all of Go's escapes.
func pythonString(text string) string { return fmt.Sprintf("%+q", text) }

// ResumePath returns the file to resume from if a user names path: for an EMA file of the
// reference it is the model file of the same step, else path.
func ResumePath(path string) (string, error) {
	model, ok := referenceModel(path)
	if !ok {
		return path, nil
	}
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return path, nil // opening it returns the error
	}
	if _, err := os.Stat(model); errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("%s holds EMA weights only: resuming needs %s in the same folder, which is missing", path, filepath.Base(model))
	}
	return model, nil
}
