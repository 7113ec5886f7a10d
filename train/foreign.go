package train

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/wangkuiyi/gotorch/pt"
)

// A file of another trainer, such as Lightning's or lucidrains', holds its state_dicts
// under keys of its own. Which of them is wanted only the user knows.

// foreign says of a dict that is no bare state_dict what it holds instead, and how to get
// weights out of it; nil for a dict of tensors alone.
func foreign(path string, dict *pt.Dict) error {
	var odd []string
	for key, value := range dict.All() {
		if _, ok := value.(*pt.Tensor); !ok {
			odd = append(odd, fmt.Sprint(key))
		}
	}
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
		return fmt.Errorf("belongs to another program: it holds weights under %s. Get those out that you want, in Python:\n%s", strings.Join(keys, ", "), extraction(path, found))
	case len(odd) < dict.Len():
		return fmt.Errorf("belongs to another program: %s stands among its tensors. Leave it out, in Python:\n%s", odd[0],
			saveCommand(fmt.Sprintf("{k: v for k, v in torch.load(%s, map_location=\"cpu\").items() if torch.is_tensor(v)}", pythonString(path))))
	}
	return fmt.Errorf("belongs to another program: %s is neither a tensor nor an entry of iddpm's format, and it holds no state_dict", odd[0])
}

// isOptimizer reports whether a dict is what an optimizer of PyTorch saves.
func isOptimizer(dict *pt.Dict) bool {
	_, state := dict.Get("state")
	_, groups := dict.Get("param_groups")
	return state && groups
}

var referenceOptimizerName = regexp.MustCompile(`^opt(\d+)\.pt$`)

// besideOptimizer says what to name instead of an optimizer's file.
func besideOptimizer(path string) string {
	m := referenceOptimizerName.FindStringSubmatch(filepath.Base(path))
	if m == nil {
		return "name the file of the weights"
	}
	return fmt.Sprintf("name model%s.pt, with which it is read where a run goes on", m[1])
}

// stateDict is a dict of tensors somewhere in a file.
type stateDict struct {
	index   string // as in Python: ["ema"]["0.9999"]
	tensors int
	ema     bool // its names begin with ema_model., which others beside them do not
}

// stateDicts finds dicts that hold tensors, down to some depth; an optimizer's are none.
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

// emaModel is what ema_pytorch, which lucidrains' trainers use, puts before the names of
// the averaged weights; the raw ones are beside them.
const emaModel = "ema_model."

// extraction is the line of Python that gets weights out of a file: averaged ones, if some
// are known to be.
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

// pythonString quotes a text for Python, whose escapes Go's are a part of.
func pythonString(text string) string { return fmt.Sprintf("%+q", text) }

// referenceModel returns the model file beside an EMA of the reference: model000010.pt
// beside ema_0.9999_000010.pt. ok is false for the name of another file.
func referenceModel(path string) (model string, ok bool) {
	m := referenceEMAName.FindStringSubmatch(filepath.Base(path))
	if m == nil {
		return "", false
	}
	return filepath.Join(filepath.Dir(path), "model"+m[2]+".pt"), true
}

// ResumePath returns what to resume from where a user has named path: of the reference's
// EMA files, the model file of the same step, since the rest of the run is beside that.
func ResumePath(path string) (string, error) {
	model, ok := referenceModel(path)
	if !ok {
		return path, nil
	}
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return path, nil // whoever opens it says so
	}
	if _, err := os.Stat(model); errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("%s is an EMA alone, and the run goes on from %s, which is not beside it", path, filepath.Base(model))
	}
	return model, nil
}
