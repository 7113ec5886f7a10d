package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	urfave "github.com/urfave/cli/v2"
	"go.uber.org/zap"

	"iddpm/data"
	"iddpm/internal/cli"
	"iddpm/internal/terminal"
)

// prepareOptions are the flags of data prepare.
type prepareOptions struct {
	imageOptions
	classCond bool
	maxBad    int
	force     bool
}

func newPrepareOptions() *prepareOptions {
	return &prepareOptions{imageOptions: *newImageOptions()}
}

func (o *prepareOptions) options() []cli.Option {
	return append(o.imageOptions.options(),
		cli.Option{Name: "class-cond", Category: cli.CategoryData, Value: &o.classCond, Usage: "store the class label of each image"},
		cli.Option{Name: "max-bad-images", Category: cli.CategoryData, Value: &o.maxBad, Usage: "skip up to `N` images that cannot be decoded, and name them"},
		cli.Option{Name: "force", Category: cli.CategoryRun, Value: &o.force, Usage: "overwrite an existing DST.zip"},
	)
}

func (p *program) dataPrepareCommand() *urfave.Command {
	return &urfave.Command{
		Name:      "prepare",
		Usage:     "preprocess images to the training resolution and pack them into a zip",
		UsageText: "iddpm data prepare SRC DST.zip [FLAGS]",
		Description: `Preprocesses the images of SRC to --image-size as training does and packs them in the layout of
NVlabs/edm's tools: 00000/img00000000.png and so on, and dataset.json with the classes. Training
then decodes small images. The zip is verified before it gets its final name. After an interrupt
the same command continues; DST.zip.parts holds the images packed so far.

Examples:
  iddpm data prepare photos photos-64.zip
  iddpm data prepare lsun/bedroom_train_lmdb bedroom-256.zip --image-size 256 --max-bad-images 10
  iddpm data prepare cifar-10-binary.tar.gz cifar10.zip --image-size 32 --class-cond`,
		Flags:           cli.FlagsOf(newPrepareOptions().options()...),
		HideHelpCommand: true,
		Action:          p.dataPrepare,
	}
}

// prepareResult is what data prepare prints.
type prepareResult struct {
	File      string     `json:"file"`
	Images    int        `json:"pictures"`
	Resumed   int        `json:"resumed"` // packed before an interruption
	ImageSize int        `json:"image_size"`
	Classes   int        `json:"classes"`
	Bytes     int64      `json:"bytes"`
	Bad       []badImage `json:"bad"` // left out
	Seconds   float64    `json:"seconds"`
}

func (p *program) dataPrepare(c *urfave.Context) error {
	o := newPrepareOptions()
	src, dst, err := twoArguments(c, "SRC", "DST.zip")
	if err := errors.Join(err, cli.Apply(c, o.options())); err != nil {
		return err
	}
	settings, err := o.settings()
	if err != nil {
		return err
	}
	settings.ClassCond, settings.MaxBadImages = o.classCond, o.maxBad
	if err := o.checkPlace(src, dst); err != nil {
		return err
	}
	s, start := p.newSession(o.json, o.logJSON), time.Now()
	done, err := s.prepare(c.Context, src, dst, settings)
	if err != nil {
		return err
	}
	result := prepareResult{
		File: dst, Images: done.Images, Resumed: done.Resumed, ImageSize: o.size, Classes: done.Classes,
		Bytes: done.Bytes, Bad: badImages(done.Bad), Seconds: time.Since(start).Seconds(),
	}
	return s.emit(result, result.text)
}

// checkPlace rejects a path that exists, unless --force, or whose folder does not exist.
func (o *prepareOptions) checkPlace(src, dst string) error {
	existing, err := os.Stat(dst)
	if err != nil {
		if dir := filepath.Dir(dst); !cli.Exists(dir) {
			return fmt.Errorf("%s: the folder %s does not exist: make it first", dst, dir)
		}
		return nil
	}
	if from, err := os.Stat(src); err == nil && os.SameFile(from, existing) {
		return cli.Errorf("%s is both source and destination: name another file to write", dst)
	}
	if !o.force {
		return fmt.Errorf("%s exists: name another file, or replace it by --force", dst)
	}
	return nil
}

// prepare packs the images, with a progress bar, and reports the images packed before an
// interruption.
func (s *session) prepare(ctx context.Context, src, dst string, settings data.Options) (*data.Prepared, error) {
	stage, show := "", func(done, total int) {}
	done, err := data.Prepare(ctx, src, dst, data.PrepareOptions{Options: settings, Progress: func(what string, done, total int) {
		if what != stage {
			s.screen.Done()
			stage, show = what, s.imageProgress(what)
		}
		show(done, total)
	}})
	s.screen.Done()
	if left := new(data.UnfinishedError); errors.Is(err, context.Canceled) && errors.As(err, &left) {
		return nil, fmt.Errorf("%w: the first %d; the same command resumes", errSavedInPart, left.Packed)
	}
	if err != nil {
		return nil, err
	}
	for _, bad := range done.Bad {
		s.log.Warn("skipped an image", zap.String("name", bad.Name), zap.Error(bad.Err))
	}
	for _, left := range done.LeftOut {
		s.log.Warn("skipped files that are not images of the data set", zap.Int("images", left.Images), zap.String("reason", left.Reason), zap.String("first", left.First))
	}
	if done.Rule != "" {
		s.log.Info("classes", zap.Int("count", done.Classes), zap.String("rule", done.Rule))
	}
	for _, warning := range done.Warnings {
		s.log.Warn("check the classes", zap.String("reason", warning), zap.String("hint", "--"+data.LabelsHint))
	}
	return done, nil
}

func (r prepareResult) text(w io.Writer) error {
	t := terminal.Table{}
	t.Line("file", "%s", r.File)
	t.Line("images", "%d, %d x %d pixels", r.Images, r.ImageSize, r.ImageSize)
	if r.Resumed > 0 {
		t.Line("packed before", "%d", r.Resumed)
	}
	if r.Classes > 0 {
		t.Line("classes", "%d", r.Classes)
	} else {
		t.Line("classes", "not stored; --class-cond stores them")
	}
	if len(r.Bad) > 0 {
		t.Line("left out", "%d", len(r.Bad))
	}
	t.Line("size", "%s", terminal.FormatBytes(r.Bytes))
	t.Line("time", "%.1f s", r.Seconds)
	t.Line("train on it", "iddpm train --data-dir %s --image-size %d", terminal.ShellWord(r.File), r.ImageSize)
	_, err := io.WriteString(w, t.String())
	return err
}
