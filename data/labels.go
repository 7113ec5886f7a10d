package data

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
)

// maxClasses bounds a label read from a file: every class costs a row of the
// model's embedding, so a larger one is a mistake, not a class.
const maxClasses = 1 << 20

// classify gives every picture of c its class, by the rule that how names (see
// Options.Labels), and the classes their names.
func (c *collection) classify(how string) (labels []int64, names []string, err error) {
	switch how {
	case "":
		return c.classifyByItself()
	case "prefix":
		return c.byClassName(prefixClass)
	case "folder":
		return c.byClassName(folderClass(c.source))
	case "source":
		if c.labels == nil {
			return nil, nil, fmt.Errorf("%s brings no labels of its own", c.title)
		}
		return c.labels, c.classNames(), nil
	}
	if IsLabelTable(how) {
		of, err := c.byTable(how)
		if err != nil {
			return nil, nil, err
		}
		return numberNumerically(of)
	}
	return nil, nil, fmt.Errorf("labels by %q: choose prefix, folder, source or a .csv file", how)
}

// classifyByItself takes the source's own labels, else the file names' prefixes,
// else the folders.
func (c *collection) classifyByItself() ([]int64, []string, error) {
	if c.labels != nil {
		return c.classify("source")
	}
	if c.unlabelled {
		return nil, nil, fmt.Errorf("%s has no classes: its %s says so; pack it again with --class-cond, or choose --labels", c.title, labelFile)
	}
	for i := range c.count() {
		if strings.Contains(path.Base(c.name(i)), "_") {
			return c.classify("prefix")
		}
	}
	if labels, names, err := c.classify("folder"); err == nil && len(names) > 1 {
		return labels, names, nil
	}
	return nil, nil, fmt.Errorf("%s has no classes: name the pictures CLASS_anything, or put each class in its folder, or give a .csv of labels", c.title)
}

// classNames returns the names of the source's own labels, their numbers where
// it names none.
func (c *collection) classNames() []string {
	if c.classes != nil {
		return c.classes
	}
	return numberNames(slices.Max(c.labels) + 1)
}

func numberNames(n int64) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = strconv.Itoa(i)
	}
	return names
}

// prefixClass is the reference's rule: what stands before the first underscore.
func prefixClass(name string) string {
	class, _, _ := strings.Cut(path.Base(name), "_")
	return class
}

// folderClass makes the rule that a picture's class is the first folder on its
// way that is not common to all pictures.
func folderClass(s source) func(name string) string {
	common := path.Dir(s.name(0)) + "/"
	for i := range s.count() {
		for !strings.HasPrefix(s.name(i), common) && common != "" {
			common = parent(common)
		}
	}
	return func(name string) string {
		class, _, below := strings.Cut(strings.TrimPrefix(name, common), "/")
		if !below {
			return ""
		}
		return class
	}
}

// parent returns the folder that holds the folder dir; both end in a slash, and
// the empty string is the outermost.
func parent(dir string) string {
	return dir[:strings.LastIndexByte(strings.TrimSuffix(dir, "/"), '/')+1]
}

// byClassName numbers the classes in the order of their names.
func (c *collection) byClassName(class func(name string) string) ([]int64, []string, error) {
	of := make([]string, c.count())
	for i := range of {
		if of[i] = class(c.name(i)); of[i] == "" {
			return nil, nil, fmt.Errorf("%s: %s is in no class", c.title, c.name(i))
		}
	}
	labels, names := number(of)
	return labels, names, nil
}

func number(of []string) ([]int64, []string) {
	names := slices.Compact(slices.Sorted(slices.Values(of)))
	labels := make([]int64, len(of))
	for i, class := range of {
		at, _ := slices.BinarySearch(names, class)
		labels[i] = int64(at)
	}
	return labels, names
}
