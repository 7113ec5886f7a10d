package main

import (
	"slices"
	"strconv"
	"strings"

	"go.uber.org/zap"

	"iddpm/checkpoint"
	"iddpm/internal/cli"
)

// classSet are the classes among which --class chooses.
type classSet struct {
	owner string   // "network" or "classifier"
	names []string // by label; empty without names
	count int
}

// classSet returns the classes of the network or, if it knows none, those of the classifier.
func (o *sampleOptions) classSet(network, classifier *checkpoint.Checkpoint) classSet {
	switch m := network.Config.Model; {
	case m.ClassCond:
		return classSet{"network", network.ClassNames, m.NumClasses}
	case classifier != nil:
		return classSet{"classifier", classifier.ClassNames, o.byClassifier.config.NumClasses}
	}
	return classSet{}
}

// labels parses the text of --class, comma-separated names or numbers, into labels. Names take
// precedence over numbers, such as a class named "7". A name may hold commas if it is the whole
// text.
func (c classSet) labels(text string) ([]int64, error) {
	if text == "" {
		return nil, nil
	}
	if c.count == 0 {
		return nil, cli.Errorf("--class: this network is not class-conditional: train one with --class-cond, or guide it by --classifier")
	}
	parts := []string{text}
	if !slices.Contains(c.names, text) {
		parts = strings.Split(text, ",")
	}
	var labels []int64
	for _, part := range parts {
		label, err := c.label(strings.TrimSpace(part))
		if err != nil {
			return nil, err
		}
		labels = append(labels, label)
	}
	return labels, nil
}

func (c classSet) label(text string) (int64, error) {
	if i := slices.Index(c.names, text); i >= 0 {
		return int64(i), nil
	}
	i, err := strconv.Atoi(text)
	switch {
	case err == nil && renumbered(c.names): // numbers are names then, not labels
		return 0, cli.Errorf("--class %s: the classes of this %s are %s", text, c.owner, someNames(c.names))
	case err == nil && i >= 0 && i < c.count:
		return int64(i), nil
	case len(c.names) == 0:
		return 0, cli.Errorf("--class %s: the classes of this %s are 0 to %d", text, c.owner, c.count-1)
	}
	return 0, cli.Errorf("--class %s: the classes of this %s are 0 to %d, by name %s", text, c.owner, c.count-1, someNames(c.names))
}

// checkClasses returns an error if a classifier numbers its classes otherwise than the network that
// it guides: it would guide the samples to other classes.
func checkClasses(network, classifier *checkpoint.Checkpoint) error {
	if classifier == nil || !network.Config.Model.ClassCond || len(network.ClassNames) == 0 || len(classifier.ClassNames) == 0 {
		return nil
	}
	if !slices.Equal(network.ClassNames, classifier.ClassNames) {
		return cli.Errorf("--classifier: its classes are %s, and those of the network %s: train both on the same classes", someNames(classifier.ClassNames), someNames(network.ClassNames))
	}
	return nil
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
func (s *session) warnOfUntrained(classes []int64, c *checkpoint.Checkpoint) {
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
