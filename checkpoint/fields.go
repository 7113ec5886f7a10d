package checkpoint

import (
	"errors"
	"fmt"

	"github.com/wangkuiyi/gotorch/pt"
)

// fields reads a dict of unchecked values. The first error is kept in err; later reads
// return zero values.
type fields struct {
	dict *pt.Dict
	path string
	err  error
}

// dictOf makes a dict of alternating keys and values.
func dictOf(pairs ...any) *pt.Dict {
	d := new(pt.Dict)
	for i := 0; i+1 < len(pairs); i += 2 {
		d.Set(pairs[i], pairs[i+1])
	}
	return d
}

func get[T any](f *fields, key any) (v T) {
	if f.err != nil || f.dict == nil {
		return v
	}
	value, ok := f.dict.Get(key)
	if !ok {
		f.err = fmt.Errorf("%s%v is missing", f.path, key)
		return v
	}
	if v, ok = value.(T); !ok {
		f.err = fmt.Errorf("%s%v is a %s", f.path, key, pt.TypeName(value))
	}
	return v
}

func (f *fields) int(key any) int64         { return get[int64](f, key) }
func (f *fields) float(key any) float64     { return get[float64](f, key) }
func (f *fields) string(key any) string     { return get[string](f, key) }
func (f *fields) tensor(key any) *pt.Tensor { return get[*pt.Tensor](f, key) }
func (f *fields) list(key any) []any        { return get[[]any](f, key) }

// sub returns the reader of a nested dict, which keeps its own error.
func (f *fields) sub(key any) *fields {
	d := get[*pt.Dict](f, key)
	return &fields{dict: d, path: fmt.Sprintf("%s%v.", f.path, key)}
}

// keys returns the names in the dict.
func (f *fields) keys() (names []string) {
	if f.dict == nil {
		return nil
	}
	for _, key := range f.dict.Keys() {
		name, ok := key.(string)
		if !ok {
			f.err = fmt.Errorf("%s%v is not a name", f.path, key)
			return nil
		}
		names = append(names, name)
	}
	return names
}

// failed joins the errors of f and of nested dicts.
func (f *fields) failed(subs ...*fields) error {
	err := f.err
	for _, s := range subs {
		err = errors.Join(err, s.err)
	}
	return err
}
