package data

import (
	"fmt"
	"slices"
)

// UnknownChoiceError is the error of [Options.Classes] that name a class that the set lacks.
type UnknownChoiceError struct {
	Set, Class string
	Rule       string   // by which images have classes
	Classes    []string // those of the set
}

func (e *UnknownChoiceError) Error() string {
	return fmt.Sprintf("%s has no image of the class %s: its classes by %s are %s", e.Set, e.Class, e.Rule, firstNames(e.Classes))
}

// chooseClasses restricts the set to the images of the classes of o, whose labels are then their
// places in the order of the set's classes, or in that of o.KnownClasses.
func (d *Dataset) chooseClasses(o Options) error {
	all := o
	all.KnownClasses, all.NumClasses = nil, 0
	k, err := d.classify(all)
	if err != nil {
		return err
	}
	for _, name := range o.Classes {
		if !slices.Contains(k.names, name) {
			return &UnknownChoiceError{d.title, name, k.rule, k.names}
		}
	}
	chosen := &classes{rule: k.rule, names: o.KnownClasses}
	if chosen.names == nil {
		chosen.names = slices.DeleteFunc(slices.Clone(k.names), func(name string) bool { return !slices.Contains(o.Classes, name) })
	}
	wanted, number := make([]bool, len(k.names)), make([]int64, len(k.names))
	for label, name := range k.names {
		wanted[label], number[label] = slices.Contains(o.Classes, name), int64(slices.Index(chosen.names, name))
	}
	for i, label := range k.labels {
		chosen.labels = append(chosen.labels, number[label])
		switch {
		case !wanted[label]:
		case number[label] < 0:
			return &UnknownClassError{Set: d.title, Class: k.names[label], Image: d.name(i), Rule: k.rule, Known: o.KnownClasses}
		default:
			d.kept = append(d.kept, int32(i))
		}
	}
	if d.classes = chosen; len(d.kept) == 0 { // numbers of classes have gaps
		return &UnknownChoiceError{d.title, o.Classes[0], k.rule, k.names}
	}
	return nil
}

// checkClasses adds warnings about the classes of the images that the set keeps.
func (d *Dataset) checkClasses() {
	kept := &classes{names: d.classes.names}
	for i := range d.Len() {
		kept.labels = append(kept.labels, d.Label(i))
	}
	kept.check()
	d.classes.warnings = append(d.classes.warnings, kept.warnings...)
}
