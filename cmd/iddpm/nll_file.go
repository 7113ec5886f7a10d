package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/wangkuiyi/gotorch/npy"
	"go.uber.org/zap"

	"iddpm/diffusion"
	"iddpm/internal/cli"
	"iddpm/runconfig"
)

// nllSettings are all that the numbers depend on. Only an evaluation with the same settings can be
// resumed.
type nllSettings struct {
	Checkpoint string           `json:"checkpoint"` // sha256 of the file
	Weights    string           `json:"weights"`
	Config     runconfig.Config `json:"config"` // of network and diffusion
	Data       string           `json:"data"`   // fingerprint
	Images     int              `json:"pictures"`
	BatchSize  int              `json:"batch_size"`
	Seed       uint64           `json:"seed"`
	Clip       bool             `json:"clip_denoised"`
	Precision  string           `json:"precision"`
}

// differences names the settings that differ from those in the JSON text.
func (n nllSettings) differences(text []byte) (names []string) {
	ours, err := json.Marshal(n)
	if err == nil && string(ours) == string(text) {
		return nil
	}
	var here, there map[string]json.RawMessage
	if errors.Join(err, json.Unmarshal(ours, &here), json.Unmarshal(text, &there)) != nil {
		return []string{"in an unknown format"}
	}
	for _, name := range slices.Sorted(maps.Keys(here)) {
		if string(here[name]) != string(there[name]) {
			names = append(names, name)
		}
	}
	return names
}

// nllFile is an evaluation on the disk: nll.npz, with the settings and the sum so far.
type nllFile struct {
	settings nllSettings
	dir      string // of the results
	named    bool   // by -o: only this folder
}

// path returns the path of nll.npz.
func (f *nllFile) path() string { return filepath.Join(f.dir, "nll.npz") }

// open makes the folder and returns the sum of an earlier process with the same settings; empty if
// there is none. release removes the folder if it is new and still empty.
func (f *nllFile) open(log *zap.Logger) (sum diffusion.BPDSum, release func(), err error) {
	found, err := f.choose()
	if err != nil {
		return sum, nil, err
	}
	if release, err = cli.MakeFolder(f.dir, "-o"); err != nil {
		return sum, nil, err
	}
	switch {
	case errors.Is(found.err, os.ErrNotExist):
	case found.err != nil:
		log.Warn("an earlier evaluation cannot be read: starting from scratch", zap.String("file", f.path()), zap.Error(found.err))
	default:
		sum = found.sum
		log.Info("resuming an evaluation", zap.String("file", f.path()), zap.Int("images", sum.Len()), zap.Int("of", f.settings.Images))
	}
	return sum, release, nil
}

// earlierEvaluation is the result of an earlier process with the same settings.
type earlierEvaluation struct {
	sum diffusion.BPDSum
	err error // why there is none: os.ErrNotExist, or damage
}

// choose chooses the folder. Evaluations with other settings are kept: this one then gets a numbered
// folder, unless -o names one.
func (f *nllFile) choose() (earlierEvaluation, error) {
	first := f.dir
	if first == "." { // ..2 would be a hidden folder
		first = "nll"
	}
	for n := 2; ; n++ {
		settings, sum, err := readNLL(f.path())
		if err != nil {
			return earlierEvaluation{err: err}, nil
		}
		differences := f.settings.differences(settings)
		switch {
		case len(differences) == 0:
			return earlierEvaluation{sum, f.settings.check(sum)}, nil
		case f.named:
			return earlierEvaluation{}, fmt.Errorf("%s holds an evaluation with other settings (%s): name another folder by -o", f.dir, strings.Join(differences, ", "))
		}
		f.dir = fmt.Sprintf("%s.%d", first, n)
	}
}

// check refuses a sum that does not belong to the settings.
func (n nllSettings) check(sum diffusion.BPDSum) error {
	if sum.Len() > n.Images {
		return fmt.Errorf("it holds %d images, but its settings say %d", sum.Len(), n.Images)
	}
	if slices.ContainsFunc(sum.Total, math.IsNaN) {
		return errors.New("it holds NaN")
	}
	return nil
}

// save writes the settings and a sum.
func (f *nllFile) save(sum *diffusion.BPDSum) error {
	text, err := json.Marshal(f.settings)
	if err != nil {
		return err
	}
	settings, err := npy.New(text)
	arrays, errs := []npy.Named{{Name: "settings", Array: settings}}, []error{err}
	for _, c := range nllColumns(sum) {
		array, err := npy.New(*c.values)
		arrays, errs = append(arrays, npy.Named{Name: c.name, Array: array}), append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return npy.WriteNPZFile(f.path(), arrays...)
}

// nllColumn is an array of nll.npz.
type nllColumn struct {
	name      string
	values    *[]float64
	timesteps bool // a sum per timestep, not a value per image
}

func nllColumns(s *diffusion.BPDSum) []nllColumn {
	return []nllColumn{
		{"total_bpd", &s.Total, false}, {"prior_bpd", &s.Prior, false}, {"decoder_bpd", &s.Decoder, false},
		{"vb_sum", &s.VB, true}, {"xstart_mse_sum", &s.XStartMSE, true}, {"mse_sum", &s.EpsilonMSE, true},
	}
}

// readNLL reads an nll.npz.
func readNLL(path string) (settings []byte, sum diffusion.BPDSum, err error) {
	arrays, err := npy.ReadNPZ(path)
	if err != nil {
		return nil, sum, err
	}
	text := arrays["settings"]
	if text == nil || text.DType != npy.Uint8 {
		return nil, sum, fmt.Errorf("%s: lacks its settings", path)
	}
	for _, c := range nllColumns(&sum) {
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
