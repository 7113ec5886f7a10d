package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image/png"
	"io"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"
	urfave "github.com/urfave/cli/v2"

	"iddpm/data"
	"iddpm/internal/cli"
	"iddpm/internal/terminal"
)

// dataInfoOptions are the flags of data info.
type dataInfoOptions struct {
	imageOptions
	sheet   string
	columns int
	rows    int
}

func newDataInfoOptions() *dataInfoOptions {
	return &dataInfoOptions{imageOptions: *newImageOptions(), columns: 8, rows: 8}
}

func (o *dataInfoOptions) options() []cli.Option {
	return append(o.imageOptions.options(),
		cli.Option{Name: "contact-sheet", Alias: "o", Category: cli.CategoryData, Local: true, Value: &o.sheet, Usage: "write a contact sheet of some images, preprocessed as for training, to `FILE`.png"},
		cli.Option{Name: "columns", Category: cli.CategoryData, Value: &o.columns, Usage: "`N` images per row of the contact sheet"},
		cli.Option{Name: "rows", Category: cli.CategoryData, Value: &o.rows, Usage: "`N` rows of the contact sheet"},
	)
}

func (o *dataInfoOptions) validate() error {
	const most = 100
	switch {
	case o.sheet != "" && !strings.EqualFold(filepath.Ext(o.sheet), ".png"):
		return cli.Errorf("--contact-sheet %s: the name must end in .png", o.sheet)
	case o.sheet != "" && !cli.Exists(filepath.Dir(o.sheet)): // an error now, not after all images
		return fmt.Errorf("--contact-sheet %s: the folder %s does not exist: make it first", o.sheet, filepath.Dir(o.sheet))
	case min(o.columns, o.rows) < 1 || max(o.columns, o.rows) > most:
		return cli.Errorf("a contact sheet has 1 to %d columns and rows, not %d and %d", most, o.columns, o.rows)
	}
	return nil
}

func (p *program) dataInfoCommand() *urfave.Command {
	return &urfave.Command{
		Name:      "info",
		Usage:     "count images, sizes and classes, and find bad files",
		UsageText: "iddpm data info [SRC] [FLAGS]",
		Description: `Decodes every image of SRC, or of the built-in emoji, as training would, and reports their number,
sizes and classes, and the ones that cannot be decoded. Warns of images that are transparent
everywhere, and of 16-bit images that use so few bits as to be nearly black.

Examples:
  iddpm data info photos
  iddpm data info photos.zip -o sheet.png --labels folder
  iddpm data info cifar-10-binary.tar.gz --split test --json`,
		Flags:           cli.FlagsOf(newDataInfoOptions().options()...),
		HideHelpCommand: true,
		Action:          p.dataInfo,
	}
}

// dataInfoResult is what data info prints.
type dataInfoResult struct {
	Source   string       `json:"source"`
	Images   int          `json:"pictures"` // that can be read
	Sizes    []sizeCount  `json:"sizes"`    // the most frequent first
	Classes  []classCount `json:"classes"`  // by label; none where there are none
	Rule     string       `json:"class_rule,omitempty"`
	Doubts   []string     `json:"class_warnings,omitempty"`
	NoClass  string       `json:"no_classes,omitempty"` // why there are none
	LeftOut  []leftOut    `json:"left_out,omitempty"`
	Bad      []badImage   `json:"bad"`
	Sheet    string       `json:"contact_sheet,omitempty"`
	Warnings []warned     `json:"warnings,omitempty"` // the most frequent first
}

// warned counts images whose pixels are probably not as intended.
type warned struct {
	Warning string `json:"warning"`
	Count   int    `json:"count"`
	First   string `json:"first"`
}

type sizeCount struct {
	Width  int `json:"width"`
	Height int `json:"height"`
	Count  int `json:"count"`
}

type classCount struct {
	Name  string `json:"name"`
	Count int    `json:"count"`
}

// leftOut are images that do not belong to the data set, for JSON.
type leftOut struct {
	Reason string `json:"reason"`
	Images int    `json:"images"`
	First  string `json:"first"`
}

func (p *program) dataInfo(c *urfave.Context) error {
	o, src := newDataInfoOptions(), ""
	var err error
	if c.NArg() > 0 {
		src, err = argument(c, "SRC")
		err = errors.Join(err, cli.OnThisMachine(src))
	}
	if err := errors.Join(err, cli.Apply(c, o.options())); err != nil {
		return err
	}
	if err := o.validate(); err != nil {
		return err
	}
	settings, err := o.settings()
	if err != nil {
		return err
	}
	settings.ClassCond = settings.Labels != "" // so missing classes are an error
	s := p.newSession(o.json, o.logJSON)
	result, err := s.describe(c.Context, src, o, settings)
	if err != nil {
		return err
	}
	return s.emit(result, result.text)
}

// describe reads all images of a data set and writes its contact sheet.
func (s *session) describe(ctx context.Context, src string, o *dataInfoOptions, settings data.Options) (*dataInfoResult, error) {
	d, err := data.Describe(ctx, src, data.DescribeOptions{
		Options: settings, Columns: o.columns, Rows: o.rows, Progress: s.imageProgress("reading"),
	})
	s.screen.Done()
	if err != nil {
		return nil, err
	}
	r := &dataInfoResult{
		Source: d.Name, Images: d.Images, Classes: []classCount{}, Rule: d.Rule, Doubts: d.ClassWarnings,
		Bad: badImages(d.Bad), Sheet: o.sheet,
	}
	if d.NoClass != nil {
		r.NoClass = d.NoClass.Error()
	}
	for _, l := range d.LeftOut {
		r.LeftOut = append(r.LeftOut, leftOut(l))
	}
	for _, size := range d.Sizes {
		r.Sizes = append(r.Sizes, sizeCount(size))
	}
	for _, class := range d.Classes {
		r.Classes = append(r.Classes, classCount(class))
	}
	for _, w := range d.Warnings {
		r.Warnings = append(r.Warnings, warned{string(w.Warning), w.Count, w.First})
	}
	if o.sheet == "" {
		return r, nil
	}
	var file bytes.Buffer
	if err := png.Encode(&file, d.Sheet); err != nil {
		return nil, err
	}
	if err := renameio.WriteFile(o.sheet, file.Bytes(), 0o666); err != nil {
		return nil, fmt.Errorf("cannot write the contact sheet: %w", err)
	}
	return r, nil
}

func (r *dataInfoResult) text(w io.Writer) error {
	t := terminal.Table{}
	t.Line("source", "%s", r.Source)
	t.Line("images", "%d", r.Images)
	r.sizes(&t)
	r.classes(&t)
	r.problems(&t)
	if r.Sheet != "" {
		t.Line("contact sheet", "%s", r.Sheet)
	}
	_, err := io.WriteString(w, t.String())
	return err
}

func (r *dataInfoResult) sizes(t *terminal.Table) {
	sizes := make([]string, len(r.Sizes))
	for i, s := range r.Sizes {
		sizes[i] = fmt.Sprintf("%8d of %d x %d pixels", s.Count, s.Width, s.Height)
	}
	t.List("sizes", sizes)
}

// classes writes the classes, the rule that gives them, and what is doubtful about it.
func (r *dataInfoResult) classes(t *terminal.Table) {
	t.List("classes", histogram(r.Classes))
	if r.Rule != "" {
		t.Line("classes by", "%s", r.Rule)
	}
	for _, warning := range r.Doubts {
		t.Line("  check", "%s", warning)
	}
	if r.NoClass != "" {
		t.Line("no classes", "%s", r.NoClass)
	}
	if len(r.Doubts) > 0 || r.NoClass != "" {
		t.Line("  hint", "%s", "--"+data.LabelsHint)
	}
}

// problems writes which files are no images, cannot be read, or look wrong.
func (r *dataInfoResult) problems(t *terminal.Table) {
	for _, l := range r.LeftOut {
		t.Line("left out", "%d: %s; the first is %s", l.Images, l.Reason, l.First)
	}
	bad := make([]string, len(r.Bad))
	for i, b := range r.Bad {
		bad[i] = b.Name + ": " + b.Cause
	}
	t.List("bad", bad)
	if len(r.Warnings) > 0 {
		warnings := make([]string, len(r.Warnings))
		for i, w := range r.Warnings {
			warnings[i] = fmt.Sprintf("%8d (%s, ...): %s", w.Count, w.First, w.Warning)
		}
		t.List("warnings", warnings)
	}
}

// histogram returns a line with a bar per class.
func histogram(classes []classCount) []string {
	const width = 40
	most, longest := 1, 0
	for _, c := range classes {
		most, longest = max(most, c.Count), max(longest, len([]rune(c.Name)))
	}
	lines := make([]string, len(classes))
	for i, c := range classes {
		lines[i] = fmt.Sprintf("%8d  %-*s  %s", c.Count, min(longest, 32), c.Name, strings.Repeat("#", (c.Count*width+most-1)/most))
	}
	return lines
}
