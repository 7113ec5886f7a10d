package main

import (
	"cmp"
	"context"
	"fmt"
	"sync"

	"github.com/wangkuiyi/gotorch"
	"go.uber.org/zap"

	"iddpm/data"
	"iddpm/evaluate"
	"iddpm/figure"
	"iddpm/inference"
	"iddpm/internal/cli"
	"iddpm/train"
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
		return "", "", cli.Errorf("num-ref must not be negative, but is %d", o.numRef)
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

// sampleMetric compares samples with the training images of a model by Inception features.
type sampleMetric struct {
	*session
	name    string
	network *evaluate.Inception
	known   *evaluate.Set
	pool    func() (evaluate.Statistics, error) // of known, computed once
}

// openSampleMetric computes the features of the images of dir, or else of those that a checkpoint was
// trained on.
func (s *session) openSampleMetric(ctx context.Context, name, weights string, c *train.Checkpoint, dir, split string, limit int) (m *sampleMetric, err error) {
	settings := c.Config.DataOptions()
	settings.Split, settings.Limit, settings.HoldOut, settings.CacheBytes = split, limit, c.Config.Eval.HoldOut, -1
	settings.ClassCond = false
	if dir != "" {
		settings.HoldOut = 0
	}
	set, err := data.Open(cmp.Or(dir, c.Config.Data.Dir), settings)
	if err != nil {
		return nil, err
	}
	defer set.Close()
	s.log.Info("computing Inception features of the reference", zap.String("data", set.Name()), zap.Int("images", set.Len()), zap.String("metric", name))
	m = &sampleMetric{session: s, name: name}
	err = m.inFloat32(func() (err error) {
		if m.network, err = evaluate.Load(weights, s.device); err != nil {
			return fmt.Errorf("--inception: %w", &evaluate.WeightsError{Path: weights, Err: err})
		}
		m.known = m.network.NewSet(set.Len())
		m.pool = sync.OnceValues(m.known.Pool)
		return m.add(ctx, m.known, set.Len(), set.ImageSize(), func(i int) ([]byte, error) {
			pixels, _, err := set.Image(i)
			return pixels, err
		})
	})
	if err != nil {
		m.free()
	}
	return m, err
}

// inFloat32 runs f on the tensor thread without TF32, for which FID is not defined.
func (m *sampleMetric) inFloat32(f func() error) error {
	before := gotorch.CurrentSettings().TF32
	configure(func(o *gotorch.Settings) { o.TF32 = gotorch.TF32Never })
	defer configure(func(o *gotorch.Settings) { o.TF32 = before })
	return onTensorThread(f)
}

// featureBatch is the number of images whose features are computed at a time.
const featureBatch = 16

// add adds n images to a set.
func (m *sampleMetric) add(ctx context.Context, set *evaluate.Set, n, size int, image func(i int) ([]byte, error)) error {
	var batch []byte
	for i := range n {
		pixels, err := image(i)
		if err != nil {
			return err
		}
		if batch = append(batch, pixels...); (i+1)%featureBatch != 0 && i+1 < n {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		m.threads.Adapt()
		if err := set.Add(batch, size); err != nil {
			return err
		}
		m.screen.Show(i+1, n, "Inception features ")
		batch = batch[:0]
	}
	return nil
}

// of returns the metric of samples.
func (m *sampleMetric) of(ctx context.Context, samples inference.Images) (value float64, err error) {
	err = m.inFloat32(func() (err error) {
		set := m.network.NewSet(samples.Len())
		defer set.Free()
		err = m.add(ctx, set, samples.Len(), samples.Size, func(i int) ([]byte, error) { return samples.Image(i), nil })
		if err != nil {
			return err
		}
		gotorch.Scope(func() { value, err = m.distance(ctx, set) })
		return err
	})
	return value, err
}

func (m *sampleMetric) distance(ctx context.Context, samples *evaluate.Set) (float64, error) {
	if m.name == metricKID {
		d, err := evaluate.KernelInceptionDistance(ctx, samples.Features(), m.known.Features())
		return d.Mean, err
	}
	own, err := samples.Pool()
	if err != nil {
		return 0, err
	}
	known, err := m.pool()
	if err != nil {
		return 0, err
	}
	return evaluate.FrechetDistance(ctx, own, known)
}

func (m *sampleMetric) free() {
	gotorch.Run(func() {
		if m.known != nil {
			m.known.Free()
		}
		if m.network != nil {
			m.network.Free()
		}
	})
}
