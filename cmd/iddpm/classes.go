package main

import (
	"slices"
	"strconv"
	"strings"

	"go.uber.org/zap"

	"iddpm/train"
)

// classLabels turns the text of --class, names or numbers, comma-separated, into
// labels. A name counts before a number, so that a class called "7" is that one;
// a text that is a name as a whole may have commas.
func classLabels(text string, c *train.Checkpoint) ([]int64, error) {
	if text == "" {
		return nil, nil
	}
	if !c.Config.Model.ClassCond {
		return nil, wrongUse("--class: this network knows no classes")
	}
	parts := []string{text}
	if !slices.Contains(c.ClassNames, text) {
		parts = strings.Split(text, ",")
	}
	var labels []int64
	for _, part := range parts {
		label, err := classLabel(strings.TrimSpace(part), c)
		if err != nil {
			return nil, err
		}
		labels = append(labels, label)
	}
	return labels, nil
}

func classLabel(text string, c *train.Checkpoint) (int64, error) {
	if i := slices.Index(c.ClassNames, text); i >= 0 {
		return int64(i), nil
	}
	n := c.Config.Model.NumClasses
	i, err := strconv.Atoi(text)
	switch {
	case err == nil && renumbered(c.ClassNames): // a number is a name then, not a row of the network
		return 0, wrongUse("--class %s: this network knows the classes %s", text, someNames(c.ClassNames))
	case err == nil && i >= 0 && i < n:
		return int64(i), nil
	case len(c.ClassNames) == 0:
		return 0, wrongUse("--class %s: this network knows the classes 0 to %d", text, n-1)
	}
	return 0, wrongUse("--class %s: this network knows the classes 0 to %d, by name %s", text, n-1, someNames(c.ClassNames))
}

// renumbered reports whether classes are called by other numbers than their labels.
func renumbered(names []string) bool {
	differ := false
	for label, name := range names {
		n, err := strconv.Atoi(name)
		if err != nil {
			return false
		}
		differ = differ || n != label
	}
	return differ
}

// warnOfUntrained says which of the classes asked for the network has seen no image of.
func (s *session) warnOfUntrained(asked []int64, c *train.Checkpoint) {
	trained := c.TrainedClasses()
	for _, label := range slices.Compact(slices.Sorted(slices.Values(asked))) {
		if !slices.Contains(trained, label) {
			s.log.Warn("the network has seen no image of this class", zap.Int64("class", label), zap.Int("classes", len(trained)),
				zap.String("hint", "without --class it samples among those that it has learnt"))
		}
	}
}

// someNames lists names, as many as fit a line or two.
func someNames(names []string) string {
	const most = 20
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return strings.Join(names[:most], ", ") + ", ..."
}
