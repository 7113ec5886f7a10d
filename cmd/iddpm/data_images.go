package main

import (
	"errors"

	urfave "github.com/urfave/cli/v2"
	"go.uber.org/zap"

	"iddpm/data"
	"iddpm/internal/cli"
	"iddpm/runconfig"
)

// imageOptions are the flags for reading images without a model. A flag that train also
// has means the same.
type imageOptions struct {
	outputOptions
	config runconfig.Config // only its data settings are used
	size   int
	split  string
}

func newImageOptions() *imageOptions { return &imageOptions{size: 64} }

func (o *imageOptions) options() []cli.Option {
	options := []cli.Option{
		{Name: "image-size", Category: cli.CategoryData, Value: &o.size, Usage: "preprocess images to `N` x N pixels (resize and center crop)"},
		cli.SplitOption(&o.split),
	}
	options = append(options, cli.Select(cli.DataOptions(&o.config), "labels", "classes", "exif-orientation", "jpeg-decoder", "background")...)
	return append(append(options, o.outputOptions.options()...), cli.ConfigOption())
}

// settings returns the options of the data set.
func (o *imageOptions) settings() (data.Options, error) {
	if o.size < 1 {
		return data.Options{}, cli.Errorf("--image-size must be above 0, not %d", o.size)
	}
	if err := o.config.Data.Validate(); err != nil {
		return data.Options{}, cli.Usage(err)
	}
	c := o.config
	c.Model.ImageSize = o.size
	settings := c.DataOptions()
	settings.Split = o.split
	return settings, nil
}

// badImage is an image that cannot be read, for JSON.
type badImage struct {
	Name  string `json:"name"`
	Cause string `json:"cause"`
}

func badImages(all []data.BadImage) []badImage {
	bad := make([]badImage, len(all)) // not nil: an empty list in JSON
	for i, p := range all {
		bad[i] = badImage{p.Name, p.Err.Error()}
	}
	return bad
}

// twoArguments returns a command's two arguments.
func twoArguments(c *urfave.Context, first, second string) (string, string, error) {
	if c.NArg() != 2 {
		return "", "", cli.Errorf("name %s and %s, as in: %s %s %s", first, second, c.Command.HelpName, first, second)
	}
	a, b := c.Args().Get(0), c.Args().Get(1)
	return a, b, errors.Join(cli.OnThisMachine(a), cli.OnThisMachine(b))
}

// imageProgress returns a progress callback for a job on images.
func (s *session) imageProgress(what string) func(done, total int) {
	s.screen.DelayLine()
	return func(done, total int) {
		if done == total { // the result reports the total
			s.screen.Show(done, total, what)
			return
		}
		s.reportProgress(done, total, what, what, zap.Int("images", done), zap.Int("of", total))
	}
}
