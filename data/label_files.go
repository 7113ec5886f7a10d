package data

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"

	"iddpm/data/imaging"
)

// readLabels takes the labels of a dataset.json; one that is missing leaves the
// collection without labels of its own, and one that holds none says that there
// are no classes.
func (c *collection) readLabels(open func() (io.ReadCloser, error)) error {
	r, err := open()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return cause(err)
	}
	defer r.Close()
	file, err := imaging.ReadFile(r)
	if err != nil {
		return err
	}
	of, names, err := parseDatasetJSON(file)
	c.unlabelled = of == nil
	if err != nil || c.unlabelled {
		return err
	}
	c.classes = names
	c.labels, err = c.match(of)
	return err
}

// match looks every picture up in a table of labels.
func (c *collection) match(of map[string]int64) ([]int64, error) {
	labels := make([]int64, c.count())
	for i := range labels {
		label, ok := of[c.name(i)]
		if !ok {
			return nil, fmt.Errorf("no label for %s", c.name(i))
		}
		labels[i] = label
	}
	return labels, nil
}

// parseDatasetJSON reads NVlabs/edm's labels, {"labels": [["NAME", CLASS], ...]},
// and the class_names that this package's Prepare adds. Both may be missing or null.
func parseDatasetJSON(file []byte) (labels map[string]int64, names []string, err error) {
	var d struct {
		Labels     [][]json.RawMessage `json:"labels"`
		ClassNames []string            `json:"class_names"`
	}
	if err := json.Unmarshal(file, &d); err != nil {
		return nil, nil, err
	}
	if len(d.Labels) == 0 {
		return nil, nil, nil
	}
	labels = make(map[string]int64, len(d.Labels))
	for i, entry := range d.Labels {
		var name string
		var label int64
		if len(entry) != 2 || json.Unmarshal(entry[0], &name) != nil || json.Unmarshal(entry[1], &label) != nil {
			return nil, nil, fmt.Errorf(`label %d is not ["NAME", CLASS] with a whole number for the class`, i)
		}
		if err := checkLabel(label, d.ClassNames); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", name, err)
		}
		labels[name] = label
	}
	return labels, d.ClassNames, nil
}

func checkLabel(label int64, names []string) error {
	limit := int64(maxClasses)
	if names != nil {
		limit = int64(len(names))
	}
	if label < 0 || label >= limit {
		return fmt.Errorf("class %d is not of 0..%d", label, limit-1)
	}
	return nil
}

// numberNumerically numbers classes by name, but takes classes that are whole
// numbers as they are.
func numberNumerically(of []string) ([]int64, []string, error) {
	labels := make([]int64, len(of))
	for i, class := range of {
		n, err := strconv.ParseInt(class, 10, 64)
		if err != nil {
			labels, names := number(of)
			return labels, names, nil
		}
		if err := checkLabel(n, nil); err != nil {
			return nil, nil, err
		}
		labels[i] = n
	}
	return labels, numberNames(slices.Max(labels) + 1), nil
}
