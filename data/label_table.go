package data

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"golang.org/x/text/unicode/norm"

	"github.com/wangkuiyi/gotorch/regularfile"

	"iddpm/internal/textfile"
)

// IsLabelTable reports whether [Options.Labels] names a file of lines NAME,CLASS.
func IsLabelTable(labels string) bool {
	return slices.Contains([]string{".csv", ".tsv", ".txt"}, strings.ToLower(path.Ext(labels)))
}

// byTable reads the classes from a file of lines "NAME,CLASS".
func (c *collection) byTable(file string) ([]string, error) {
	content, err := regularfile.Read(file)
	if err != nil {
		return nil, fmt.Errorf("cannot open the labels: %w", err)
	}
	text, err := textfile.Decode(content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	of, err := c.classesInTable(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return of, nil
}

// classesInTable reads a table with the delimiter for which the names match: a comma, or
// the one that Excel writes in locales with a decimal comma.
func (c *collection) classesInTable(text string) ([]string, error) {
	var first error
	for _, delimiter := range delimiters(&text) {
		table, err := parseTable(text, delimiter)
		if err == nil {
			var of []string
			if of, err = table.classes(c.source); err == nil {
				return of, nil
			}
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}

// delimiters lists the delimiters in the first line, the most frequent first. It drops
// Excel's line "sep=;".
func delimiters(text *string) []rune {
	line, rest, _ := strings.Cut(*text, "\n")
	if separator, ok := strings.CutPrefix(strings.TrimRight(line, "\r"), "sep="); ok && len(separator) == 1 {
		*text = "\n" + rest
		return []rune(separator)
	}
	const all = ",;\t|"
	found := []rune(all)
	for line := range strings.Lines(*text) {
		cell := line
		if i := strings.IndexAny(line, all); i >= 0 {
			cell = line[:i]
		}
		if strings.TrimSpace(line) == "" || isComment(cell) {
			continue
		}
		count := func(r rune) int { return strings.Count(line, string(r)) }
		slices.SortStableFunc(found, func(a, b rune) int { return count(b) - count(a) })
		found = slices.DeleteFunc(found, func(r rune) bool { return r != found[0] && count(r) == 0 })
		break
	}
	return found
}

// isComment reports whether a line before the first row is a comment, by its first
// cell.
func isComment(cell string) bool {
	cell = strings.TrimSpace(cell)
	return strings.HasPrefix(cell, "#") && !isImageFile(cell)
}

// labelTable maps images to classes.
type labelTable struct {
	rows   []tableRow
	byBase map[string][]int // rows by the last part of the image's path, without its extension
}

type tableRow struct {
	line        int
	name, class string // name as [tableKey] spells it
}

// parseTable reads rows of a name and a class. A header line may name the columns;
// without it there must be two.
func parseTable(text string, delimiter rune) (*labelTable, error) {
	in := csv.NewReader(strings.NewReader(text))
	in.Comma, in.FieldsPerRecord = delimiter, -1
	in.TrimLeadingSpace = delimiter != '\t' // which counts as space
	t := &labelTable{byBase: map[string][]int{}}
	columns := tableColumns{}
	for first := true; ; {
		record, err := in.Read()
		switch {
		case err == io.EOF && len(t.rows) == 0:
			return nil, errors.New("holds no lines NAME,CLASS")
		case err == io.EOF:
			return t, nil
		case err != nil:
			return nil, err
		}
		line, _ := in.FieldPos(0)
		if record = trimmed(record); len(record) == 0 || first && isComment(record[0]) {
			continue
		}
		if first {
			first = false
			if columns, err = headerColumns(record); err != nil {
				return nil, fmt.Errorf("line %d: %w", line, err)
			}
			if columns.named {
				continue
			}
		}
		if err := t.add(record, columns, line); err != nil {
			return nil, err
		}
	}
}

// trimmed drops white space around cells, and trailing empty cells, which spreadsheets
// write.
func trimmed(record []string) []string {
	for i := range record {
		record[i] = strings.TrimSpace(record[i])
	}
	for len(record) > 0 && record[len(record)-1] == "" {
		record = record[:len(record)-1]
	}
	return record
}

func (t *labelTable) add(record []string, columns tableColumns, line int) error {
	last := max(columns.name, columns.class)
	if len(record) <= last || record[columns.name] == "" || record[columns.class] == "" {
		return fmt.Errorf("line %d is not NAME,CLASS: %q", line, strings.Join(record, ","))
	}
	if !columns.named && len(record) > 2 {
		return fmt.Errorf("line %d has %d columns: name them in a first line, as in filename,label, to say which are which", line, len(record))
	}
	row := tableRow{line: line, name: tableKey(record[columns.name]), class: record[columns.class]}
	base := tableBase(row.name)
	t.byBase[base] = append(t.byBase[base], len(t.rows))
	t.rows = append(t.rows, row)
	return nil
}

// tableColumns are the columns of the image name and of the class.
type tableColumns struct {
	name, class int
	named       bool // by a header line
}

// Accepted column titles.
var (
	nameTitles  = []string{"filename", "file_name", "file name", "file", "name", "image", "images", "image_name", "img", "path", "file_path", "filepath", "image_path", "image_id", "img_id", "id", "fname"}
	classTitles = []string{"label", "labels", "class", "classes", "class_name", "classname", "class_id", "label_name", "category", "category_id", "target", "tag", "breed", "species"}
)

// headerColumns finds the columns by their titles. A first line of two unknown titles
// counts as a missing image.
func headerColumns(record []string) (tableColumns, error) {
	if slices.ContainsFunc(record, isImageFile) {
		return tableColumns{name: 0, class: 1}, nil
	}
	find := func(titles []string) int {
		for _, title := range titles {
			if i := slices.IndexFunc(record, func(cell string) bool { return strings.EqualFold(cell, title) }); i >= 0 {
				return i
			}
		}
		return -1
	}
	name, class := find(nameTitles), find(classTitles)
	switch {
	case name >= 0 && class >= 0:
		return tableColumns{name: name, class: class, named: true}, nil
	case len(record) == 2 && name >= 0:
		return tableColumns{name: name, class: 1 - name, named: true}, nil
	case len(record) == 2 && class >= 0:
		return tableColumns{name: 1 - class, class: class, named: true}, nil
	case name >= 0:
		return tableColumns{}, fmt.Errorf("none of the columns %q is called label or class", record)
	}
	return tableColumns{name: 0, class: 1}, nil
}

// classes returns the class of every image.
func (t *labelTable) classes(s source) ([]string, error) {
	of := make([]string, s.count())
	used := map[int]int{} // image by row
	missing, firstMissing := 0, 0
	for i := range of {
		row, err := t.find(s.name(i))
		if err != nil {
			return nil, err
		}
		if row < 0 {
			if missing++; missing == 1 {
				firstMissing = i
			}
			continue
		}
		if other, ok := used[row]; ok && path.Dir(s.name(other)) != path.Dir(s.name(i)) {
			return nil, fmt.Errorf("line %d: %s may be %s or %s: write names with their folders", t.rows[row].line, t.rows[row].name, s.name(other), s.name(i))
		}
		used[row], of[i] = i, t.rows[row].class
	}
	if missing > 0 {
		return nil, fmt.Errorf("no label for %s: %d of %d images have none", s.name(firstMissing), missing, len(of))
	}
	return of, nil
}

// find returns the row of an image, or -1: the row whose path shares the longest suffix
// with the image's. Two such rows with different classes are an error.
func (t *labelTable) find(name string) (int, error) {
	name = tableKey(name)
	best, most := -1, 0
	for _, i := range t.byBase[tableBase(name)] {
		common := commonEnd(t.rows[i].name, name)
		switch {
		case common > most:
			best, most = i, common
		case common == most && best >= 0 && t.rows[i].class != t.rows[best].class:
			return -1, fmt.Errorf("lines %d and %d give %s two classes, %s and %s", t.rows[best].line, t.rows[i].line, name, t.rows[best].class, t.rows[i].class)
		}
	}
	return best, nil
}

// commonEnd scores how well a row's path matches an image's: 0 if neither is a suffix
// of the other; more for more folders, and for the extension.
func commonEnd(row, image string) int {
	fit := 1
	if ext := path.Ext(row); isImageFile(row) {
		if !strings.EqualFold(ext, path.Ext(image)) {
			return 0
		}
		fit = 2
	}
	a, b := strings.Split(withoutExtension(row), "/"), strings.Split(withoutExtension(image), "/")
	for len(a) > 0 && len(b) > 0 {
		if a[len(a)-1] != b[len(b)-1] {
			return 0
		}
		a, b, fit = a[:len(a)-1], b[:len(b)-1], fit+3
	}
	if len(a) == len(b) {
		fit++
	}
	return fit
}

func tableBase(key string) string { return path.Base(withoutExtension(key)) }

func withoutExtension(name string) string {
	if isImageFile(name) {
		return strings.TrimSuffix(name, path.Ext(name))
	}
	return name
}

// tableKey normalises a name across operating systems: slashes, no ./, and composed
// accents (macOS decomposes them).
func tableKey(name string) string {
	return norm.NFC.String(path.Clean(strings.ReplaceAll(strings.TrimSpace(name), `\`, "/")))
}
