package main

import (
	"cmp"
	"context"
	"fmt"

	"github.com/wangkuiyi/gotorch"
	"go.uber.org/zap"

	"iddpm/checkpoint"
	"iddpm/data"
	"iddpm/evaluate"
	"iddpm/figure"
	"iddpm/inference"
	"iddpm/internal/cli"
)

// The metrics that compare samples with real images.
const (
	metricFID = "fid"
	metricKID = "kid"

	metricOctaves = "octaves" // energy per octave of spatial frequency, without the Inception network
)

// metricOptions are the flags of figures that compare samples.
type metricOptions struct {
	name      string // --metric; "": see choose
	inception string
	numRef    int
	fallback  string // the metric without weights of the Inception network
}

func newMetricOptions(fallback string) metricOptions {
	return metricOptions{fallback: fallback, numRef: 10_000}
}

func (o *metricOptions) options() []cli.Option {
	return []cli.Option{
		{Name: "metric", Category: cli.CategoryFigure, Value: &o.name, Standard: "fid or kid with the Inception network at hand, else " + o.fallback,
			Usage: "compare samples by `NAME`: fid, kid or " + o.fallback + "; by default FID of 2,048 samples or more, KID of fewer"},
		{Name: "inception", Category: cli.CategoryFigure, Local: true, Value: &o.inception, Standard: "as iddpm evaluate has downloaded them", Usage: "read the weights of the Inception network from `FILE`"},
		{Name: "num-ref", Category: cli.CategoryFigure, Value: &o.numRef, Usage: "compare with `N` training images, spread evenly over the set (0: all)"},
	}
}

// choose returns the metric for a number of samples, and the file of the Inception network's weights
// if it needs them. It downloads nothing.
func (o metricOptions) choose(samples int) (metric, weights string, err error) {
	switch o.name {
	case "", metricFID, metricKID, o.fallback:
	default:
		return "", "", cli.Errorf("--metric %s: it is fid, kid or %s", o.name, o.fallback)
	}
	if o.numRef < 0 {
		return "", "", cli.Errorf("--num-ref must not be negative, but is %d", o.numRef)
	}
	if o.name == o.fallback {
		return o.name, "", nil
	}
	if weights = o.inception; weights == "" {
		if file, err := evaluate.WeightsPath(); err == nil && cli.Exists(file) {
			weights = file
		}
	}
	switch {
	case weights != "" && samples >= evaluate.PoolFeatures:
		return cmp.Or(o.name, metricFID), weights, nil
	case weights != "":
		return cmp.Or(o.name, metricKID), weights, nil
	case o.name == "":
		return o.fallback, "", nil
	}
	return "", "", cli.Errorf("--metric %s needs the Inception network's weights: name their file by --inception, or run iddpm evaluate once, which downloads them", o.name)
}

// about returns how a figure presents a metric of a number of samples; not the fallback.
func (o metricOptions) about(metric string, samples int) figure.SampleMetric {
	if metric == metricFID {
		return figure.SampleMetric{Label: "FID", Column: "fid", About: fmt.Sprintf("FID of %d samples to training images.", samples)}
	}
	return figure.SampleMetric{Label: "KID", Column: "kid", About: fmt.Sprintf("KID of %d samples to training images.", samples)}
}

// sampleMetric compares samples with training images by Inception features. It loads the network once, and
// computes the features of each reference once, however many models a figure compares.
type sampleMetric struct {
	*session
	name    string // metricFID or metricKID
	weights string // file of the network
	numRef  int
	network *evaluate.Inception             // nil until it is needed
	known   map[string]*evaluate.Comparison // with a reference, by what selects its images
}

// newSampleMetric returns a metric that [metricOptions.choose] has chosen; nil for the fallback.
func (s *session) newSampleMetric(metric, weights string, o metricOptions) *sampleMetric {
	if metric == o.fallback {
		return nil
	}
	return &sampleMetric{session: s, name: metric, weights: weights, numRef: o.numRef, known: map[string]*evaluate.Comparison{}}
}

// to returns the comparison of samples with the images of dir, or else with those that a checkpoint
// was trained on.
func (m *sampleMetric) to(ctx context.Context, c *checkpoint.Checkpoint, dir, split string) (func(context.Context, inference.Images) (float64, error), error) {
	settings := c.Config.DataOptions()
	settings.Split, settings.Limit, settings.HoldOut, settings.CacheBytes = split, m.numRef, c.Config.Eval.HoldOut, -1
	settings.ClassCond = false
	if dir != "" {
		settings.HoldOut = 0
	}
	dir = cmp.Or(dir, c.Config.Data.Dir)
	key := fmt.Sprintf("%s %+v", dir, settings)
	if m.known[key] == nil {
		set, err := data.Open(dir, settings)
		if err != nil {
			return nil, err
		}
		defer set.Close()
		if err := m.inFloat32(func() (err error) { m.known[key], err = m.comparison(ctx, set); return err }); err != nil {
			return nil, err
		}
	}
	return func(ctx context.Context, samples inference.Images) (float64, error) {
		return m.distance(ctx, m.known[key], samples)
	}, nil
}

// comparison computes the features of a reference.
func (m *sampleMetric) comparison(ctx context.Context, set *data.Dataset) (c *evaluate.Comparison, err error) {
	if m.network == nil {
		if m.network, err = evaluate.Load(m.weights, m.device); err != nil {
			return nil, fmt.Errorf("--inception: %w", &evaluate.WeightsError{Path: m.weights, Err: err})
		}
	}
	m.log.Info("computing Inception features of the reference", zap.String("data", set.Name()), zap.Int("images", set.Len()), zap.String("metric", m.name))
	run := evaluate.Run{Device: m.device, Progress: func(at evaluate.Progress) { m.show(at.Images, at.Of) }}
	known, err := run.Features(ctx, m.network, evaluate.ReferenceSet, set)
	if err != nil {
		return nil, err
	}
	defer known.Free()
	if m.name == metricKID {
		return evaluate.CompareByKID(known), nil
	}
	return evaluate.CompareByFID(known)
}

func (m *sampleMetric) show(images, of int) {
	m.threads.Adapt()
	m.screen.Show(images, of, "Inception features ")
}

// inFloat32 runs f on the tensor thread without TF32, for which FID is not defined.
func (m *sampleMetric) inFloat32(f func() error) error {
	before := gotorch.CurrentSettings().TF32
	configure(func(o *gotorch.Settings) { o.TF32 = gotorch.TF32Never })
	defer configure(func(o *gotorch.Settings) { o.TF32 = before })
	return onTensorThread(f)
}

// distance returns the metric of samples.
func (m *sampleMetric) distance(ctx context.Context, known *evaluate.Comparison, samples inference.Images) (value float64, err error) {
	err = m.inFloat32(func() error {
		set := m.network.NewSet(samples.Len())
		defer set.Free()
		err := set.AddAll(ctx, samples.Pixels, samples.Size, func(done int) { m.show(done, samples.Len()) })
		if err == nil {
			value, _, err = known.Distance(ctx, set)
		}
		return err
	})
	return value, err
}

// free frees the network and the references; m may be nil.
func (m *sampleMetric) free() {
	if m == nil {
		return
	}
	gotorch.Run(func() {
		for _, c := range m.known {
			c.Free()
		}
		if m.network != nil {
			m.network.Free()
		}
	})
}
