package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"iddpm/checkpoint"
	"iddpm/data"
	"iddpm/evaluate"
	"iddpm/inference"
	"iddpm/internal/cli"
	"iddpm/internal/terminal"
)

// evalClassifier is the classifier of evaluate --classifier. The zero value is none.
type evalClassifier struct {
	*inference.Classifier
	checkpoint *checkpoint.Checkpoint
	options    *classifierOptions
}

// readEvalClassifier reads the checkpoint of --classifier, if it is given.
func (s *session) readEvalClassifier(ctx context.Context, o *evaluateOptions) (e evalClassifier, err error) {
	if o.classifier.path == "" {
		return e, nil
	}
	e.options = &o.classifier
	e.checkpoint, err = o.classifier.read(ctx, s.remotes(o.remoteOptions), o.classifier.path)
	return e, err
}

// load builds the classifier, for samples of a size.
func (e *evalClassifier) load(s *session, size int) error {
	if err := e.options.complete(e.checkpoint, size); err != nil {
		return err
	}
	if own := e.options.config.ImageSize; own != size {
		return cli.Errorf("--classifier %s is for images of %d pixels, and the samples have %d: resize them by --image-size %d", e.checkpoint.Path, own, size, own)
	}
	c, err := inference.LoadClassifier(e.checkpoint, e.options.config, inference.LoadOptions{Device: s.device, EMA: e.options.ema, Precision: "fp32"})
	e.Classifier = c
	return err
}

// dataOptions adds the classes of the samples to the options of their set. Labels of an .npz are the
// numbers of classes, and others have the names of the classifier's.
func (e *evalClassifier) dataOptions(o data.Options, path, labels string) data.Options {
	if e.checkpoint == nil {
		return o
	}
	o.ClassCond, o.Labels = true, labels
	if cli.IsNPZ(path) && !data.IsLabelTable(labels) {
		o.NumClasses = anyClass
	} else {
		o.KnownClasses = e.checkpoint.ClassNames
	}
	return o
}

// anyClass is a number of classes with which no labels are renumbered.
const anyClass = 1 << 20

// checkLabels returns an error if samples have labels that the classifier does not know.
func (e *evalClassifier) checkLabels(set *data.Dataset) error {
	n := e.NumClasses()
	for i := range set.Len() {
		if label := set.Label(i); label >= int64(n) {
			return fmt.Errorf("%s: image %d has the label %d, and --classifier %s knows the classes 0 to %d", set.Name(), i, label, e.checkpoint.Path, n-1)
		}
	}
	return nil
}

// classify is the classifier as evaluate.Run needs it.
func (e *evalClassifier) classify(pixels []byte, size int) ([][]int64, error) {
	return e.TopClasses(inference.Images{Size: size, Pixels: pixels}, 5)
}

func (e *evalClassifier) free() {
	if e.Classifier != nil {
		e.Free()
	}
}

// classesResult is what evaluate prints of --classifier.
type classesResult struct {
	Classifier string        `json:"classifier"`
	Weights    string        `json:"weights"`
	Accuracy   float64       `json:"accuracy"` // share of samples whose likeliest class is that of their label
	StdErr     float64       `json:"accuracy_stderr"`
	Top5       *float64      `json:"accuracy_top5"` // null with five classes or fewer
	Classes    []classResult `json:"classes"`       // with samples
}

// classResult is the accuracy in a class.
type classResult struct {
	Class      string  `json:"class"`
	NumSamples int     `json:"num_samples"`
	Accuracy   float64 `json:"accuracy"`
}

// result describes the classified samples.
func (e *evalClassifier) result(a *evaluate.ClassAccuracy) *classesResult {
	top1, top5 := a.Overall.Accuracy()
	weights, _ := e.checkpoint.Weights(e.options.ema)
	r := &classesResult{Classifier: e.checkpoint.Path, Weights: weights.Name, Accuracy: top1, StdErr: a.Overall.StdErr()}
	if e.NumClasses() > 5 {
		r.Top5 = &top5
	}
	for label, c := range a.Classes {
		if c.Images == 0 {
			continue
		}
		own, _ := c.Accuracy()
		r.Classes = append(r.Classes, classResult{e.nameOf(label), c.Images, own})
	}
	return r
}

// nameOf returns the name of a class, or its number.
func (e *evalClassifier) nameOf(label int) string {
	if names := e.checkpoint.ClassNames; label < len(names) {
		return names[label]
	}
	return strconv.Itoa(label)
}

// unlabelled adds the cure to the error of samples whose classes are not known, or are not the classifier's.
func unlabelled(err error) error {
	var labels *data.LabelsError
	if !errors.As(err, &labels) {
		return err
	}
	return fmt.Errorf("--classifier needs the class of each sample, from an .npz of a class-conditional model or a rule by --labels: %w", labels.Err)
}

// write adds the accuracies to a table; r may be nil.
func (r *classesResult) write(t *terminal.Table) {
	if r == nil {
		return
	}
	top5 := ""
	if r.Top5 != nil {
		top5 = fmt.Sprintf(", in the likeliest five %.4f", *r.Top5)
	}
	t.Line("class accuracy", "%.4f ± %.4f%s", r.Accuracy, r.StdErr, top5)
	for _, c := range r.Classes {
		t.Line("  "+c.Class, "%.4f of %d samples", c.Accuracy, c.NumSamples)
	}
}
