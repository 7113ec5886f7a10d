package main

import (
	"slices"
	"strconv"
	"strings"

	"go.uber.org/zap"

	"iddpm/internal/cli"
	"iddpm/train"
)

// classLabels parses the text of --class, comma-separated names or numbers, into labels. Names take
// precedence over numbers, such as a class named "7". A name may hold commas if it is the whole
// text.
func classLabels(text string, c *train.Checkpoint) ([]int64, error) {
	if text == "" {
		return nil, nil
	}
	if !c.Config.Model.ClassCond {
		return nil, cli.Errorf("--class: this network is not class-conditional")
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
	case err == nil && renumbered(c.ClassNames): // numbers are names then, not rows of the embedding
		return 0, cli.Errorf("--class %s: the classes of this network are %s", text, someNames(c.ClassNames))
	case err == nil && i >= 0 && i < n:
		return int64(i), nil
	case len(c.ClassNames) == 0:
		return 0, cli.Errorf("--class %s: the classes of this network are 0 to %d", text, n-1)
	}
	return 0, cli.Errorf("--class %s: the classes of this network are 0 to %d, by name %s", text, n-1, someNames(c.ClassNames))
}

// renumbered reports whether the names of the classes are numbers that differ from the labels.
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

// warnOfUntrained warns of classes without training images.
func (s *session) warnOfUntrained(classes []int64, c *train.Checkpoint) {
	trained := c.TrainedClasses()
	for _, label := range slices.Compact(slices.Sorted(slices.Values(classes))) {
		if !slices.Contains(trained, label) {
			s.log.Warn("this class has no training images", zap.Int64("class", label), zap.Int("classes", len(trained)),
				zap.String("hint", "without --class, samples are of the trained classes"))
		}
	}
}

// someNames lists the first names.
func someNames(names []string) string {
	const most = 20
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return strings.Join(names[:most], ", ") + ", ..."
}
