package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/wangkuiyi/gotorch/npy"
	"go.uber.org/zap"

	"iddpm/data"
	"iddpm/diffusion"
	"iddpm/distributed"
	"iddpm/train"
)

// likelihood evaluates the bound of a set of images, batch by batch, and keeps
// what it has in nll.npz.
type likelihood struct {
	*session
	o        *nllOptions
	set      *data.Dataset
	settings nllSettings
	dir      string           // of the results
	sum      diffusion.BPDSum // of the images so far

	resumed int       // images that an earlier process has evaluated
	steps   int       // taken in this process
	start   time.Time // of the first
	release func()    // removes the folder if nothing has come into it
}

// nllSettings are what the numbers depend on: only an evaluation with the same
// can be gone on with.
type nllSettings struct {
	Checkpoint string       `json:"checkpoint"` // sha256 of the file
	Weights    string       `json:"weights"`
	Config     train.Config `json:"config"` // of network and diffusion
	Data       string       `json:"data"`   // fingerprint
	Images     int          `json:"pictures"`
	BatchSize  int          `json:"batch_size"`
	Seed       uint64       `json:"seed"`
	Clip       bool         `json:"clip_denoised"`
	Precision  string       `json:"precision"`
}

func (s *session) newLikelihood(c *train.Checkpoint, set *data.Dataset, o *nllOptions) (*likelihood, error) {
	l := &likelihood{session: s, o: o, set: set, dir: cmp.Or(o.dir, nllDir(c)), start: time.Now(), release: func() {}}
	s.setThreads(o.threads)
	weights, err := c.Weights(o.ema)
	if err = s.group.SyncError(err); err != nil {
		return nil, err
	}
	l.settings = nllSettings{
		Weights: weights.Name, Data: set.Fingerprint(), Images: set.Len(), BatchSize: o.batchSize,
		Config: train.Config{Model: c.Config.Model, Diffusion: c.Config.Diffusion}, Seed: o.seed, Clip: o.clip,
		Precision: train.ResolvePrecision(o.precision, s.device),
	}
	if o.number > 0 {
		l.settings.Images = min(o.number, set.Len())
	}
	if err := s.group.CheckSame("set of images", l.settings.Data); err != nil {
		return nil, err
	}
	err = s.group.OnLeader(func() (err error) {
		if l.settings.Checkpoint, err = c.Sum(); err == nil {
			err = l.open()
		}
		return err
	})
	if err == nil {
		err = l.follow()
	}
	return l, err
}

// follow has all processes begin where the leading one does.
func (l *likelihood) follow() error {
	sum, err := distributed.Broadcast(l.group, l.sum)
	if err == nil {
		l.sum, l.resumed = sum, sum.Len()
	}
	return err
}

// path is where the evaluation is kept.
func (l *likelihood) path() string { return filepath.Join(l.dir, "nll.npz") }

// open makes the folder and takes up what an earlier process has left there.
func (l *likelihood) open() error {
	found, err := l.choose()
	if err != nil {
		return err
	}
	if l.release, err = makeFolder(l.dir, "-o"); err != nil {
		return err
	}
	switch {
	case errors.Is(found.err, os.ErrNotExist):
	case found.err != nil:
		l.log.Warn("an earlier evaluation cannot be read: beginning again", zap.String("file", l.path()), zap.Error(found.err))
	default:
		l.sum, l.resumed = found.sum, found.sum.Len()
		l.log.Info("going on with an evaluation", zap.String("file", l.path()), zap.Int("images", l.resumed), zap.Int("of", l.settings.Images))
	}
	return nil
}

// earlierLikelihood is what an earlier process has left, with the same settings.
type earlierLikelihood struct {
	sum diffusion.BPDSum
	err error // why there is none: os.ErrNotExist, or damage
}

// choose leaves evaluations with other settings alone: beside them, this one gets
// a numbered folder, unless -o has named one.
func (l *likelihood) choose() (earlierLikelihood, error) {
	for first, n := l.dir, 2; ; n++ {
		settings, sum, err := readLikelihood(l.path())
		if err != nil {
			return earlierLikelihood{err: err}, nil
		}
		others := l.settings.others(settings)
		switch {
		case len(others) == 0:
			return earlierLikelihood{sum, l.check(sum)}, nil
		case l.o.dir != "":
			return earlierLikelihood{}, fmt.Errorf("%s holds an evaluation with other settings (%s): name another folder by -o", l.dir, strings.Join(others, ", "))
		}
		l.dir = fmt.Sprintf("%s.%d", first, n)
	}
}

// check refuses an evaluation that cannot have come of its settings.
func (l *likelihood) check(sum diffusion.BPDSum) error {
	if sum.Len() > l.settings.Images {
		return fmt.Errorf("it holds %d images, and its settings are of %d", sum.Len(), l.settings.Images)
	}
	if slices.ContainsFunc(sum.Total, math.IsNaN) {
		return errors.New("it holds NaN")
	}
	return nil
}

// others names the settings that are others in their JSON, text.
func (n nllSettings) others(text []byte) (names []string) {
	ours, err := json.Marshal(n)
	if err == nil && string(ours) == string(text) {
		return nil
	}
	var here, there map[string]json.RawMessage
	if errors.Join(err, json.Unmarshal(ours, &here), json.Unmarshal(text, &there)) != nil {
		return []string{"of an unknown form"}
	}
	for _, name := range slices.Sorted(maps.Keys(here)) {
		if string(here[name]) != string(there[name]) {
			names = append(names, name)
		}
	}
	return names
}

// evaluate evaluates what is left of the images. It works on the tensor thread.
func (l *likelihood) evaluate(ctx context.Context, c *train.Checkpoint) error {
	if l.sum.Len() == l.settings.Images {
		return nil
	}
	network, err := l.newInference(c, l.o.ema, l.o.precision)
	if err = l.group.SyncError(err); err != nil {
		return err
	}
	defer network.Free()
	network.expect(l.batches() * network.diffusion.NumTimesteps())
	l.log.Info("evaluating the bound", zap.String("checkpoint", c.Path), zap.Int("step", c.Step), zap.String("weights", l.settings.Weights),
		zap.String("data", l.set.Name()), zap.Int("images", l.settings.Images), zap.Int("timesteps", network.diffusion.NumTimesteps()), zap.Stringer("device", l.device))
	for l.sum.Len() < l.settings.Images {
		if err := l.batch(ctx, network); err != nil {
			return err
		}
		if err := l.group.OnLeader(l.save); err != nil {
			return fmt.Errorf("cannot keep the evaluation: %w", err)
		}
	}
	return nil
}

// batch evaluates the next images, in several processes as many batches.
func (l *likelihood) batch(ctx context.Context, network *evaluator) error {
	var mine diffusion.BPDSum
	var err error
	first := l.sum.Len() + l.group.Rank()*l.o.batchSize
	if n := min(l.o.batchSize, l.settings.Images-first); n > 0 {
		err = l.bound(ctx, network, first, n, &mine)
	}
	if err = l.syncStop(ctx, err); err != nil {
		return err
	}
	all, err := distributed.AllGather(l.group, mine)
	for _, sum := range all {
		if sum.Len() > 0 {
			l.sum.Join(sum)
		}
	}
	return err
}

// bound evaluates n images.
func (l *likelihood) bound(ctx context.Context, network *evaluator, first, n int, sum *diffusion.BPDSum) error {
	pixels, labels, err := l.images(first, n)
	if err != nil {
		return err
	}
	progress := func() error { return l.progress(network.diffusion.NumTimesteps()) }
	return network.bound(ctx, pixels, labels, boundOptions{seed: l.o.seed, first: first, unclipped: !l.o.clip, progress: progress}, sum)
}

// images reads n of the images that are evaluated, which are spread evenly
// over the set: one sorted by classes is not judged by the first of them.
func (l *likelihood) images(first, n int) (pixels []byte, labels []int64, err error) {
	for i := first; i < first+n; i++ {
		img, label, err := l.set.Image(data.Spread(i, l.settings.Images, l.set.Len()))
		if err != nil {
			return nil, nil, err
		}
		pixels, labels = append(pixels, img...), append(labels, label)
	}
	return pixels, labels, nil
}

// progress counts a step, and says how far the evaluation is.
func (l *likelihood) progress(perBatch int) error {
	l.steps++
	steps := l.batches() * perBatch
	done := l.sum.Len()
	text := fmt.Sprintf("%d/%d images ", done, l.settings.Images)
	if done > 0 {
		mean, _ := diffusion.MeanAndError(l.sum.Total)
		text = fmt.Sprintf("%d/%d images  %.3f bits/dim ", done, l.settings.Images, mean)
	}
	left := time.Since(l.start) / time.Duration(l.steps) * time.Duration(steps-l.steps)
	l.reportProgress(l.steps, steps, text, "evaluating",
		zap.Int("images", done), zap.Int("of", l.settings.Images), zap.Stringer("left", left.Round(time.Second)))
	return nil
}

// batches returns how many there are in all, but for those of an earlier evaluation.
func (l *likelihood) batches() int {
	return batches(l.settings.Images-l.resumed, l.o.batchSize*l.group.Size())
}

// save writes the evaluation so far.
func (l *likelihood) save() error {
	text, err := json.Marshal(l.settings)
	if err != nil {
		return err
	}
	settings, err := npy.New(text)
	arrays, errs := []npy.Named{{Name: "settings", Array: settings}}, []error{err}
	for _, c := range columns(&l.sum) {
		array, err := npy.New(*c.values)
		arrays, errs = append(arrays, npy.Named{Name: c.name, Array: array}), append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return npy.WriteNPZFile(l.path(), arrays...)
}

// column is an array of nll.npz.
type column struct {
	name      string
	values    *[]float64
	timesteps bool // a sum per timestep, not a value per image
}

func columns(s *diffusion.BPDSum) []column {
	return []column{
		{"total_bpd", &s.Total, false}, {"prior_bpd", &s.Prior, false}, {"decoder_bpd", &s.Decoder, false},
		{"vb_sum", &s.VB, true}, {"xstart_mse_sum", &s.XStartMSE, true}, {"mse_sum", &s.EpsilonMSE, true},
	}
}

// readLikelihood reads an nll.npz.
func readLikelihood(path string) (settings []byte, sum diffusion.BPDSum, err error) {
	arrays, err := npy.ReadNPZ(path)
	if err != nil {
		return nil, sum, err
	}
	text := arrays["settings"]
	if text == nil || text.DType != npy.Uint8 {
		return nil, sum, fmt.Errorf("%s: lacks its settings", path)
	}
	for _, c := range columns(&sum) {
		a := arrays[c.name]
		if a == nil || a.DType != npy.Float64 {
			return nil, sum, fmt.Errorf("%s: lacks %s", path, c.name)
		}
		*c.values = a.Float64s()
		if want := map[bool][]float64{false: sum.Total, true: sum.VB}[c.timesteps]; len(*c.values) != len(want) {
			return nil, sum, fmt.Errorf("%s: %s has %d values, not %d", path, c.name, len(*c.values), len(want))
		}
	}
	return text.Data, sum, nil
}
