package checkpoint

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/wangkuiyi/gotorch"
	"github.com/wangkuiyi/gotorch/pt"

	"iddpm/train/posthoc"
)

// PostHocEMA says how an EMA was made from snapshots.
type PostHocEMA struct {
	Length    float64 `json:"length"`    // fraction of the training, see package posthoc
	Step      int     `json:"step"`      // after which the EMA would stand
	Snapshots int     `json:"snapshots"` // files that were combined
	// Residual is the norm of the difference of the EMA's profile from the combination of the
	// snapshots' relative to that of the profile: 0 is exact.
	Residual float64 `json:"residual"`
}

// NoSnapshotsError reports that a folder has no snapshots of power-function EMAs.
type NoSnapshotsError struct {
	Dir  string
	Step int // of the EMA; 0: any
}

func (e *NoSnapshotsError) Error() string {
	at := ""
	if e.Step > 0 {
		at = fmt.Sprintf(" of step %d or before", e.Step)
	}
	return fmt.Sprintf("%s holds no snapshots of power-function EMAs%s (%s/ema-*.pt)", e.Dir, at, SnapshotDir)
}

// CombineEMA returns the power-function EMA of a length after a step, 0 for the last one with a
// snapshot, as a linear combination of the snapshots in a run folder (Karras et al. 2023,
// algorithm 3). The checkpoint holds one set of weights, as an exported file does. Call it
// on the tensor thread.
func CombineEMA(dir string, length float64, step int) (*Checkpoint, PostHocEMA, error) {
	how := PostHocEMA{Length: length, Step: step}
	gamma, err := posthoc.Gamma(length)
	if err != nil {
		return nil, how, err
	}
	steps := Snapshots(dir)
	if step > 0 {
		steps = slices.DeleteFunc(steps, func(s int) bool { return s > step })
	}
	if len(steps) == 0 {
		return nil, how, &NoSnapshotsError{dir, step}
	}
	how.Snapshots = len(steps)
	if how.Step == 0 {
		how.Step = steps[len(steps)-1]
	}
	c, averages, err := readSnapshot(dir, steps[len(steps)-1])
	if err != nil {
		return nil, how, err
	}
	keys := averages.keys()
	profiles, err := profilesOf(steps, keys)
	if err != nil {
		return nil, how, fmt.Errorf("%s: %w", c.Path, err)
	}
	fit, err := posthoc.Coefficients(profiles, posthoc.Profile{Step: float64(how.Step), Gamma: gamma})
	if err != nil {
		return nil, how, err
	}
	c.Step, c.Exported, how.Residual = how.Step, powerKey(length), fit.Residual
	c.Model, err = combine(dir, steps, keys, fit.Coefficients)
	return c, how, err
}

// profilesOf returns the profiles of the EMAs named keys at steps, all keys of a step together.
func profilesOf(steps []int, keys []string) (profiles []posthoc.Profile, err error) {
	for _, step := range steps {
		for _, key := range keys {
			length, err := strconv.ParseFloat(strings.TrimPrefix(key, powerPrefix), 64)
			if err != nil {
				return nil, fmt.Errorf("%q is not the name of a power-function EMA", key)
			}
			gamma, err := posthoc.Gamma(length)
			if err != nil {
				return nil, err
			}
			profiles = append(profiles, posthoc.Profile{Step: float64(step), Gamma: gamma})
		}
	}
	return profiles, nil
}

// readSnapshot reads the snapshot of a step: a checkpoint without weights, and its EMAs by name.
func readSnapshot(dir string, step int) (*Checkpoint, fields, error) {
	c := &Checkpoint{Path: SnapshotFile(dir, step)}
	value, err := pt.ReadFile(c.Path)
	if err != nil {
		return nil, fields{}, err
	}
	averages, err := c.parseSnapshot(value)
	if err == nil && c.Step != step {
		err = fmt.Errorf("is of step %d: was it renamed?", c.Step)
	}
	if err != nil {
		return nil, fields{}, fmt.Errorf("EMA snapshot %s: %w", c.Path, err)
	}
	return c, averages, nil
}

// parseSnapshot reads the unpickled value of a snapshot.
func (c *Checkpoint) parseSnapshot(value any) (averages fields, err error) {
	dict, ok := value.(*pt.Dict)
	if !ok {
		return fields{}, fmt.Errorf("holds a %s, not a snapshot", pt.TypeName(value))
	}
	f := fields{dict: dict}
	averages = *f.sub(snapshotKey)
	if len(averages.keys()) == 0 {
		return averages, errors.Join(f.err, averages.err, errors.New("holds no power-function EMA"))
	}
	return averages, c.readHeader(&f)
}

// combine returns the sum of the EMAs named keys at steps, each times its coefficient, in float32.
// It holds one snapshot and float64 sums in memory.
func combine(dir string, steps []int, keys []string, coefficients []float64) (*pt.Dict, error) {
	var sums sums
	defer sums.free()
	for i, step := range steps {
		c, averages, err := readSnapshot(dir, step)
		if err != nil {
			return nil, err
		}
		for k, key := range keys {
			if err := sums.add(averages.sub(key), coefficients[i*len(keys)+k]); err != nil {
				return nil, fmt.Errorf("EMA snapshot %s: %w", c.Path, err)
			}
		}
	}
	return sums.dict(), nil
}

// sums are weighted sums of state_dicts, float64, by name.
type sums struct {
	names []string
	byKey map[string]gotorch.Tensor
}

// add adds a state_dict times a factor. All must have the same names and shapes.
func (s *sums) add(f *fields, factor float64) error {
	names := f.keys()
	if s.byKey == nil {
		s.names, s.byKey = names, map[string]gotorch.Tensor{}
	}
	if !slices.Equal(names, s.names) {
		return errors.Join(f.err, errors.New("its EMAs have not the parameters of the other snapshots"))
	}
	for _, name := range names {
		value := f.tensor(name)
		if f.err != nil {
			return f.err
		}
		err := gotorch.Try(func() {
			gotorch.Scope(func() {
				term := gotorch.FromPT(value).CastTo(gotorch.Double).MulScalar(factor)
				if sum, ok := s.byKey[name]; ok {
					sum.AddI(term, 1)
				} else {
					s.byKey[name] = term.Unscoped()
				}
			})
		})
		if err == nil && !slices.Equal(s.byKey[name].Shape(), value.Shape) {
			err = fmt.Errorf("has the shape %v, not %v as in the other snapshots", value.Shape, s.byKey[name].Shape())
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// dict returns the sums in float32.
func (s *sums) dict() *pt.Dict {
	dict := &pt.Dict{Ordered: true}
	gotorch.Scope(func() {
		for _, name := range s.names {
			dict.Set(name, s.byKey[name].CastTo(gotorch.Float).PT())
		}
	})
	return dict
}

// free frees the sums.
func (s *sums) free() {
	for _, sum := range s.byKey {
		sum.Free()
	}
}
