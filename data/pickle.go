package data

import (
	"errors"
	"fmt"
	"io"

	"github.com/wangkuiyi/gotorch/pickle"

	"iddpm/data/imaging"
)

// CIFAR and downsampled ImageNet are Python pickles of one dictionary that
// contains a NumPy array of pixels and a list of labels. unpickle reads only
// those: it allows a few NumPy names, and leaves the pixels in the file,
// since an ImageNet batch may not fit in memory.

type (
	dtype struct{ code string }

	ndarray struct {
		shape []int64
		dtype string // as "u1"
		data  pickle.Span
	}
)

// longBytes is the length from which a string is left in the file: shorter than
// the smallest image, longer than any name.
const longBytes = 128

// unpickle reads the dictionary in the first size bytes of r.
func unpickle(r io.ReaderAt, size int64) (*pickle.Dict, error) {
	u := pickle.Unpickler{FindClass: findNumPy, Call: callNumPy, SetState: setNumPy, LongBytes: longBytes}
	v, _, err := u.Load(io.NewSectionReader(r, 0, size), size)
	if errors.Is(err, pickle.ErrTruncated) {
		err = imaging.EndsEarly(io.ErrUnexpectedEOF)
	}
	if err != nil {
		return nil, fmt.Errorf("not a readable pickle: %w", err)
	}
	d, ok := v.(*pickle.Dict)
	if !ok {
		return nil, fmt.Errorf("the pickle does not hold a dictionary but a %s", pickle.TypeName(v))
	}
	return d, nil
}

// member returns a value of a dictionary, or the zero T if it has none of that type.
func member[T any](d *pickle.Dict, key string) (T, bool) {
	v, _ := d.Get(key)
	t, ok := v.(T)
	return t, ok
}

// findNumPy allows the globals from which NumPy arrays are unpickled.
func findNumPy(name string) error {
	switch name {
	case "numpy.ndarray", "numpy.dtype",
		"numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct",
		"numpy.core.numeric._frombuffer", "numpy._core.numeric._frombuffer":
		return nil
	}
	return fmt.Errorf("a call of %s does not occur in the files this reads", name)
}

// callNumPy constructs NumPy values.
func callNumPy(function pickle.Global, args []any) (any, error) {
	switch function {
	case "numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct":
		return &ndarray{}, nil
	case "numpy.dtype":
		if len(args) > 0 {
			if code, ok := args[0].(string); ok {
				return &dtype{code}, nil
			}
		}
		return nil, errors.New("a dtype without a name")
	case "numpy.core.numeric._frombuffer", "numpy._core.numeric._frombuffer": // from protocol 5 on
		if len(args) != 4 {
			return nil, errors.New("not the arguments of an array")
		}
		a := &ndarray{}
		return a, a.set([]any{nil, args[2], args[1], args[3] != any("C"), args[0]})
	}
	return nil, errors.New("it cannot be called")
}

// setNumPy sets an array's state; a dtype's state is not needed.
func setNumPy(object, state any) error {
	switch v := object.(type) {
	case *dtype:
		return nil
	case *ndarray:
		if state, ok := state.(*pickle.Tuple); ok {
			return v.set(state.Items)
		}
		return errors.New("not the state of an array")
	}
	return fmt.Errorf("a state for a %s", pickle.TypeName(object))
}

// set reads NumPy's state: version, shape, dtype, Fortran order, bytes.
func (a *ndarray) set(state []any) error {
	if len(state) != 5 {
		return errors.New("not the state of an array")
	}
	shape, ok1 := state[1].(*pickle.Tuple)
	kind, ok2 := state[2].(*dtype)
	fortran, ok3 := state[3].(bool)
	if !ok1 || !ok2 || !ok3 || fortran {
		return errors.New("not the state of an array in C order")
	}
	a.dtype = kind.code
	a.data, _ = state[4].(pickle.Span) // arrays without pixels are ignored
	a.shape = nil
	for _, d := range shape.Items {
		n, ok := d.(int64)
		if !ok || n < 0 {
			return errors.New("an array's shape is not made of integers")
		}
		a.shape = append(a.shape, n)
	}
	return nil
}
