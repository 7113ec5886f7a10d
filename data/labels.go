package data

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/text/unicode/norm"
)

// maxClasses bounds how many classes there are: each costs a row of the network's
// embedding, so more are a mistake.
const maxClasses = 1 << 20

// classes says what the images of a collection show.
type classes struct {
	labels   []int64  // one per image
	names    []string // by label
	rule     string   // where they come from, for a log line
	warnings []string // what may be wrong with them
}

// classify gives every image its class, as o says.
func (c *collection) classify(o Options) (*classes, error) {
	k, err := c.classesFor(o)
	if err == nil && len(k.names) > maxClasses {
		err = fmt.Errorf("%s: %d classes by %s: more than %d are a mistake", c.title, len(k.names), k.rule, maxClasses)
	}
	return k, err
}

func (c *collection) classesFor(o Options) (*classes, error) {
	switch {
	case o.Labels != "":
		k, err := c.byRule(o.Labels, o.NumClasses)
		if err != nil || o.KnownClasses == nil {
			return k, err
		}
		return c.asKnown(k, o.KnownClasses)
	case o.KnownClasses != nil:
		return c.byKnown(o)
	}
	return c.byItself(o.NumClasses)
}

// byRule classifies by the rule that how names, see [Options.Labels]. rows is how many
// classes a network has, 0 where that is open.
func (c *collection) byRule(how string, rows int) (*classes, error) {
	switch {
	case how == "prefix":
		return c.byClassName("prefixes of file names", prefixClass)
	case how == "folder":
		k, err := c.byClassName("folders", c.folderClass())
		if err == nil && c.splitLevels() > 0 {
			k.warn("train and test are folders of one set here: name one of them as the data set to keep the other apart")
		}
		return k, err
	case how == "source":
		own, foreign, err := c.ownLabels()
		if err == nil && own == nil {
			err = fmt.Errorf("%s brings no labels of its own", c.title)
			if foreign != nil {
				err = fmt.Errorf("%w: %w", err, foreign)
			}
		}
		if err != nil {
			return nil, err
		}
		return own.classes(rows), nil
	case IsLabelTable(how):
		of, err := c.byTable(how)
		if err != nil {
			return nil, err
		}
		return byTableCells(of, "table "+how, rows)
	}
	return nil, fmt.Errorf("labels by %q: choose prefix, folder, source or a .csv file", how)
}

// byItself takes the set's own labels, else file names' prefixes, as the reference does,
// else folders. Where prefixes and folders disagree and neither is plainly wrong, it asks.
func (c *collection) byItself(rows int) (*classes, error) {
	own, foreign, err := c.ownLabels()
	if err != nil {
		return nil, fmt.Errorf("%w (--labels chooses where classes come from)", err)
	}
	if own != nil {
		return own.classes(rows), nil
	}
	none := func(why string) error {
		err := fmt.Errorf("%s has no classes: %s. Name the images CLASS_anything, put each class in its folder, or name a table by --labels", c.title, why)
		if foreign != nil {
			err = fmt.Errorf("%w; %w", err, foreign)
		}
		return err
	}
	if c.isPacked() {
		return nil, none("its names are those that a packer gives")
	}
	k, err := c.byNames()
	if err != nil {
		return nil, none(err.Error())
	}
	if foreign != nil {
		k.warnings = append(k.warnings, foreign.Error())
	}
	return k, nil
}

// byNames chooses between prefixes and folders.
func (c *collection) byNames() (*classes, error) {
	n, underscored, other := c.count(), 0, ""
	for i := range n {
		if prefix, _, found := strings.Cut(path.Base(c.name(i)), "_"); found && prefix != "" {
			underscored++
		} else {
			other = c.name(i)
		}
	}
	prefixes, err := c.byRule("prefix", 0)
	if err != nil {
		prefixes = &classes{}
	}
	folders, noFolders := c.byRule("folder", 0)
	haveFolders := noFolders == nil && len(folders.names) > 1 && !c.splitsAlone()
	switch {
	case haveFolders && underscored == n && samePartition(prefixes.labels, folders.labels):
		return prefixes, nil
	case haveFolders && (underscored < n || len(prefixes.names) == 1 || prefixes.nearlyOneEach() && !folders.nearlyOneEach()):
		if underscored > 0 {
			folders.warn("%d of %d file names have an underscore; what stands before it would make other classes: %s", underscored, n, firstNames(prefixes.names))
		}
		return folders, nil
	case haveFolders && !folders.nearlyOneEach():
		return nil, fmt.Errorf("prefixes of file names make the %d classes %s, and folders the %d classes %s: choose by --labels prefix or --labels folder",
			len(prefixes.names), firstNames(prefixes.names), len(folders.names), firstNames(folders.names))
	case 2*underscored >= n && len(prefixes.names) > 0:
		if underscored < n {
			prefixes.warn("%d of %d file names have no underscore, such as %s: each of these names is a class of its own", n-underscored, n, other)
		}
		return prefixes, nil
	}
	why := ""
	switch {
	case noFolders != nil:
		why = fmt.Sprintf("%s is in no folder of its class", c.outsideFolders())
	case c.splitsAlone():
		why = "the folders are splits, not classes"
	default:
		why = "all images are in folders of one class, " + folders.names[0]
	}
	return nil, fmt.Errorf("%d of %d file names have an underscore, and %s", underscored, n, why)
}

// outsideFolders returns the first image that is in no class by folders, or "".
func (c *collection) outsideFolders() string {
	class := c.folderClass()
	for i := range c.count() {
		if class(c.name(i)) == "" {
			return c.name(i)
		}
	}
	return ""
}

// byKnown classifies by the rule whose classes a network has learnt.
func (c *collection) byKnown(o Options) (*classes, error) {
	own, err := c.byItself(o.NumClasses)
	if err == nil {
		if own, err = c.asKnown(own, o.KnownClasses); err == nil {
			return own, nil
		}
	}
	for _, how := range []string{"prefix", "folder"} {
		if k, failed := c.byRule(how, o.NumClasses); failed == nil {
			if k, failed = c.asKnown(k, o.KnownClasses); failed == nil {
				return k, nil
			}
		}
	}
	return nil, err
}

// asKnown numbers classes by their names as a network does that has learnt them.
func (c *collection) asKnown(k *classes, known []string) (*classes, error) {
	number := make([]int64, len(k.names))
	for i, name := range k.names {
		number[i] = int64(slices.Index(known, name))
	}
	labels := make([]int64, len(k.labels))
	for i, label := range k.labels {
		if labels[i] = number[label]; labels[i] < 0 {
			return nil, &UnknownClassError{Set: c.title, Class: k.names[label], Image: c.name(i), Rule: k.rule, Known: known}
		}
	}
	return &classes{labels: labels, names: known, rule: k.rule, warnings: k.warnings}, nil
}

// UnknownClassError says that an image is of a class that a network has not learnt.
type UnknownClassError struct {
	Set, Class, Image string
	Rule              string   // by which the image is of the class
	Known             []string // what the network has learnt
}

func (e *UnknownClassError) Error() string {
	return fmt.Sprintf("%s: the network has not learnt the class %s of %s (by %s): it knows %s", e.Set, e.Class, e.Image, e.Rule, firstNames(e.Known))
}

func (k *classes) warn(format string, a ...any) {
	k.warnings = append(k.warnings, fmt.Sprintf(format, a...))
}

// nearlyOneEach reports whether most classes have one image.
func (k *classes) nearlyOneEach() bool { return 2*k.present() > len(k.labels) && len(k.labels) > 2 }

// present returns how many classes have images.
func (k *classes) present() int {
	seen := map[int64]bool{}
	for _, label := range k.labels {
		seen[label] = true
	}
	return len(seen)
}

// check warns of what is seldom meant.
func (k *classes) check() {
	switch n := k.present(); {
	case n == 1:
		k.warn("all images are of one class, %s", k.names[k.labels[0]])
	case k.nearlyOneEach():
		k.warn("there are nearly as many classes as images: %d for %d", n, len(k.labels))
	}
	if empty := k.empty(); len(empty) > 0 {
		k.warn("%d of %d classes have no image: %s", len(empty), len(k.names), firstNames(empty))
	}
	spelt := map[string]string{}
	for _, name := range k.names {
		key := strings.ToLower(norm.NFC.String(strings.TrimSpace(name)))
		if other, ok := spelt[key]; ok {
			k.warn("the classes %q and %q differ only in case, space or accents", other, name)
		}
		spelt[key] = name
	}
}

// empty returns the names of the classes without images.
func (k *classes) empty() (names []string) {
	has := make([]bool, len(k.names))
	for _, label := range k.labels {
		has[label] = true
	}
	for i, name := range k.names {
		if !has[i] {
			names = append(names, name)
		}
	}
	return names
}

// samePartition reports whether two ways to label images differ in the numbers alone.
func samePartition(a, b []int64) bool {
	to, from := map[int64]int64{}, map[int64]int64{}
	for i := range a {
		x, seen := to[a[i]]
		y, seenBack := from[b[i]]
		if seen != seenBack || seen && (x != b[i] || y != a[i]) {
			return false
		}
		to[a[i]], from[b[i]] = b[i], a[i]
	}
	return true
}

// prefixClass is the reference's rule: what stands before the first underscore.
func prefixClass(name string) string {
	class, _, _ := strings.Cut(path.Base(name), "_")
	return class
}

// splitName matches the folders in which published sets keep train and test images.
var splitName = regexp.MustCompile(`(?i)^(train|test|val|valid|validation|eval|dev)(ing)?([-_ ]?(set|data|images))?[-_ ]?\d*$`)

// folderClass makes the rule that an image's class is the first folder on its way that
// not all images share, and that is no split into train and test.
func (c *collection) folderClass() func(name string) string {
	common, splits := c.commonFolder(), c.splitLevels()
	return func(name string) string {
		parts := strings.Split(strings.TrimPrefix(name, common), "/")
		parts = parts[:len(parts)-1]
		if len(parts) <= splits {
			return ""
		}
		return parts[splits]
	}
}

// commonFolder returns the innermost folder that all images share, with a slash at the
// end, or "".
func (c *collection) commonFolder() string {
	common := path.Dir(c.name(0)) + "/"
	for i := range c.count() {
		for !strings.HasPrefix(c.name(i), common) && common != "" {
			common = parent(common)
		}
	}
	return common
}

// splitLevels returns how many levels of folders below the common one are splits into
// train and test that have folders below.
func (c *collection) splitLevels() int {
	common := c.commonFolder()
	for level := 0; ; level++ {
		deeper := false
		for i := range c.count() {
			parts := strings.Split(strings.TrimPrefix(c.name(i), common), "/")
			if len(parts) <= level+1 || !splitName.MatchString(parts[level]) {
				return level
			}
			deeper = deeper || len(parts) > level+2
		}
		if !deeper {
			return level
		}
	}
}

// splitsAlone reports whether the folders that would be classes are splits.
func (c *collection) splitsAlone() bool {
	class := c.folderClass()
	for i := range c.count() {
		if !splitName.MatchString(class(c.name(i))) {
			return false
		}
	}
	return true
}

// parent returns the folder that holds the folder dir; both end in a slash, and
// the empty string is the outermost.
func parent(dir string) string {
	return dir[:strings.LastIndexByte(strings.TrimSuffix(dir, "/"), '/')+1]
}

// packedName matches the names that NVlabs/edm's packer, and [Prepare], give.
var packedName = regexp.MustCompile(`(^|/)\d{5}/img\d{8}\.\w+$`)

// isPacked reports whether folders and names say nothing of the images.
func (c *collection) isPacked() bool {
	for i := range c.count() {
		if !packedName.MatchString(c.name(i)) {
			return false
		}
	}
	return true
}

// byClassName numbers the classes in the order of their names.
func (c *collection) byClassName(rule string, class func(name string) string) (*classes, error) {
	of := make([]string, c.count())
	for i := range of {
		if of[i] = class(c.name(i)); of[i] == "" {
			return nil, fmt.Errorf("%s: %s is in no class by %s", c.title, c.name(i), rule)
		}
	}
	k := number(of)
	k.rule = rule
	return k, nil
}

func number(of []string) *classes {
	names := slices.Compact(slices.Sorted(slices.Values(of)))
	labels := make([]int64, len(of))
	for i, class := range of {
		at, _ := slices.BinarySearch(names, class)
		labels[i] = int64(at)
	}
	return &classes{labels: labels, names: names}
}

// byTableCells numbers classes by name, and classes that are whole numbers by number.
func byTableCells(of []string, rule string, rows int) (*classes, error) {
	numbers := make([]int64, len(of))
	for i, class := range of {
		n, err := strconv.ParseInt(class, 10, 64)
		if err != nil {
			k := number(of)
			k.rule = rule
			return k, nil
		}
		if err := checkLabel(n, nil); err != nil {
			return nil, fmt.Errorf("%s: %w", rule, err)
		}
		numbers[i] = n
	}
	return byNumbers(numbers, rule, rows), nil
}

func (o *ownLabels) classes(rows int) *classes {
	if o.names != nil {
		return &classes{labels: o.labels, names: o.names, rule: o.from}
	}
	return byNumbers(o.labels, o.from, rows)
}

// byNumbers takes numbers for labels as they are, where a network has as many rows, or
// at least half of the rows would be of use. Others are numbered densely, in their order,
// and are the classes' names.
func byNumbers(numbers []int64, rule string, rows int) *classes {
	distinct := slices.Compact(slices.Sorted(slices.Values(numbers)))
	last := distinct[len(distinct)-1]
	if last < int64(rows) || last+1 <= 2*int64(len(distinct)) {
		names := make([]string, last+1)
		for i := range names {
			names[i] = strconv.Itoa(i)
		}
		return &classes{labels: numbers, names: names, rule: rule}
	}
	k := &classes{rule: rule, labels: make([]int64, len(numbers))}
	for i, n := range numbers {
		at, _ := slices.BinarySearch(distinct, n)
		k.labels[i] = int64(at)
	}
	for _, n := range distinct {
		k.names = append(k.names, strconv.FormatInt(n, 10))
	}
	k.warn("the labels %s leave gaps: the classes are numbered 0 to %d in their order, and called by their labels", firstNames(k.names), len(k.names)-1)
	return k
}

// firstNames lists names, the first of them where there are many.
func firstNames(names []string) string {
	const most = 5
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return strings.Join(names[:most], ", ") + ", ..."
}
