package data

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"iddpm/data/imaging"
	"iddpm/internal/textfile"
)

// labelFile is where NVlabs/edm's data sets keep their labels.
const labelFile = "dataset.json"

// foreignError says why a dataset.json is in another program's format.
type foreignError struct{ is string }

func (e *foreignError) Error() string {
	return "is in another program's format: " + e.is + `, not {"labels": [["NAME", CLASS], ...]}`
}

// ownLabels returns the labels of c itself, or nil if it has none. foreign names the
// files that look like labels but are in another program's format.
func (c *collection) ownLabels() (own *ownLabels, foreign error, err error) {
	if c.readOwn != nil {
		own, err := c.readOwn()
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", c.title, err)
		}
		return own, nil, nil
	}
	if c.labelFiles == nil {
		return nil, nil, nil
	}
	read := map[string]*datasetJSON{}
	var found []string
	for _, name := range c.labelFiles.names {
		d, err := c.labelFiles.read(name)
		switch e := (*foreignError)(nil); {
		case errors.As(err, &e):
			foreign = errors.Join(foreign, fmt.Errorf("%s %w", name, err))
		case err != nil:
			return nil, nil, fmt.Errorf("%s: %s: %w", c.title, name, err)
		default:
			read[name], found = d, append(found, name)
		}
	}
	if len(found) == 0 {
		return nil, foreign, nil
	}
	outermost := slices.MinFunc(found, func(a, b string) int { return strings.Count(a, "/") - strings.Count(b, "/") })
	own, err = c.labelled(read[outermost], path.Dir(outermost))
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %s: %w", c.title, outermost, err)
	}
	return own, nil, nil
}

// labelled matches a dataset.json in the folder dir with the images. Every image must
// have a label.
func (c *collection) labelled(d *datasetJSON, dir string) (*ownLabels, error) {
	for i := range c.count() {
		if dir != "." && !strings.HasPrefix(c.name(i), dir+"/") {
			return nil, fmt.Errorf("labels the images in %s, but %s is not in that folder: name the folder %s as the data set", dir, c.name(i), dir)
		}
	}
	if d.labels == nil {
		return nil, errNoLabels
	}
	labels := make([]int64, c.count())
	missing, first := 0, ""
	for i := range labels {
		name := c.name(i)
		if dir != "." {
			name = strings.TrimPrefix(name, dir+"/")
		}
		label, ok := d.labels[tableKey(name)]
		if !ok {
			if missing++; missing == 1 {
				first = c.name(i)
			}
		}
		labels[i] = label
	}
	if missing > 0 {
		return nil, fmt.Errorf("no label for %s: %d of %d images have none", first, missing, len(labels))
	}
	own := &ownLabels{labels: labels, names: d.names, from: labelFile}
	if d.form != "" {
		own.from += ", " + d.form
	}
	return own, nil
}

// errNoLabels is the error of a packed set, whose folders and file names are not classes.
var errNoLabels = errors.New("says that the images have no classes: pack them again by iddpm data prepare with class-cond")

func (f *labelFiles) read(name string) (*datasetJSON, error) {
	r, err := f.open(name)
	if err != nil {
		return nil, cause(err)
	}
	defer r.Close()
	file, err := imaging.ReadFile(r)
	if err != nil {
		return nil, err
	}
	return parseDatasetJSON(file)
}

// datasetJSON is the parsed content of a dataset.json.
type datasetJSON struct {
	labels map[string]int64 // by tableKey of the name; nil: there are no classes
	names  []string         // of the classes; nil: they are plain numbers
	form   string           // how labels are written, unless as integers
}

// parseDatasetJSON reads NVlabs/edm's labels, {"labels": [["NAME", CLASS], ...]},
// and the class_names that this package's Prepare adds. Both may be missing or null.
// edm itself also accepts one-hot vectors and floating-point numbers as classes.
func parseDatasetJSON(file []byte) (*datasetJSON, error) {
	text, err := textfile.Decode(file)
	if err != nil {
		return nil, err
	}
	var top map[string]json.RawMessage
	if !json.Valid([]byte(text)) {
		return nil, notJSON(text)
	}
	if json.Unmarshal([]byte(text), &top) != nil {
		return nil, &foreignError{"it holds " + kindOf([]byte(text))}
	}
	list, ok := top["labels"]
	if !ok {
		return nil, &foreignError{"it has no labels"}
	}
	d := &datasetJSON{}
	var entries []json.RawMessage
	if json.Unmarshal(list, &entries) != nil {
		return nil, &foreignError{"its labels are " + kindOf(list)}
	}
	if names, ok := top["class_names"]; ok && json.Unmarshal(names, &d.names) != nil {
		return nil, &foreignError{"its class_names are " + kindOf(names)}
	}
	if len(entries) == 0 {
		return &datasetJSON{}, nil
	}
	d.labels = make(map[string]int64, len(entries))
	for i, entry := range entries {
		if err := d.add(i, entry); err != nil {
			return nil, err
		}
	}
	return d, nil
}

func notJSON(text string) error {
	var syntax *json.SyntaxError
	err := json.Unmarshal([]byte(text), new(any))
	if errors.As(err, &syntax) {
		return fmt.Errorf("is not valid JSON in line %d: %w", 1+strings.Count(text[:min(int(syntax.Offset), len(text))], "\n"), err)
	}
	return fmt.Errorf("is not valid JSON: %w", err)
}

func (d *datasetJSON) add(i int, entry json.RawMessage) error {
	var pair []json.RawMessage
	var name string
	if json.Unmarshal(entry, &pair) != nil || len(pair) != 2 || json.Unmarshal(pair[0], &name) != nil {
		if i == 0 {
			return &foreignError{"its first label is " + kindOf(entry)}
		}
		return fmt.Errorf(`label %d is not ["NAME", CLASS]: %s`, i, excerpt(entry))
	}
	label, form, err := parseClass(pair[1])
	if err != nil {
		return fmt.Errorf("the class of %s %w", name, err)
	}
	if err := checkLabel(label, d.names); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if d.form == "" {
		d.form = form
	}
	key := tableKey(name)
	if other, ok := d.labels[key]; ok && other != label {
		return fmt.Errorf("%s is of two classes, %d and %d", name, other, label)
	}
	d.labels[key] = label
	return nil
}

// parseClass reads a class as edm does: a whole number, however it is written, or a
// vector that is 1 at the class and 0 elsewhere.
func parseClass(text json.RawMessage) (label int64, form string, err error) {
	if label, err := strconv.ParseInt(string(text), 10, 64); err == nil {
		return label, "", nil
	}
	var number float64
	var vector []float64
	switch {
	case kindOf(text) == "null":
		return 0, "", errors.New("is null, not a number")
	case json.Unmarshal(text, &number) == nil:
		if label = int64(number); float64(label) != number {
			return 0, "", fmt.Errorf("is the floating-point number %s, not a whole one", text)
		}
		return label, "floating-point numbers", nil
	case json.Unmarshal(text, &vector) == nil:
		one := slices.Index(vector, 1)
		for i, v := range vector {
			if one < 0 || i != one && v != 0 {
				return 0, "", fmt.Errorf("is a vector of %d numbers that is not one-hot: %s", len(vector), excerpt(text))
			}
		}
		if one >= 0 {
			return int64(one), "one-hot vectors", nil
		}
	}
	return 0, "", fmt.Errorf("is %s, not a whole number: %s", kindOf(text), excerpt(text))
}

// kindOf names the kind of a JSON value.
func kindOf(text []byte) string {
	text = bytes.TrimSpace(text)
	if len(text) == 0 {
		return "nothing"
	}
	switch text[0] {
	case '{':
		return "an object"
	case '[':
		return "a list"
	case '"':
		return "a text"
	case 'n':
		return "null"
	case 't', 'f':
		return "true or false"
	}
	return "a number"
}

// excerpt shortens a JSON value for a message.
func excerpt(text []byte) string {
	const most = 60
	if len(text) <= most {
		return string(text)
	}
	return strings.ToValidUTF8(string(text[:most]), "") + "..."
}

func checkLabel(label int64, names []string) error {
	switch {
	case label < 0:
		return fmt.Errorf("class %d is negative", label)
	case names != nil && label >= int64(len(names)):
		return fmt.Errorf("class %d is not of 0..%d", label, len(names)-1)
	}
	return nil
}
