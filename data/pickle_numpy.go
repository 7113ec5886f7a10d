package data

import (
	"errors"
	"fmt"
	"strings"
)

// global reads two lines, a module and a name in it.
func (u *unpickler) global() error {
	var names [2]string
	for i := range names {
		line, err := u.in.ReadSlice('\n')
		u.at += int64(len(line))
		if err != nil {
			return err
		}
		names[i] = strings.TrimSuffix(string(line), "\n")
	}
	u.push(global(names[0] + "." + names[1]))
	return nil
}

// reduce stands for a call; the only ones are those that make NumPy's values.
func (u *unpickler) reduce() error {
	args, err := pop[tuple](u)
	if err != nil {
		return err
	}
	f, err := pop[global](u)
	if err != nil {
		return err
	}
	switch f {
	case "numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct":
		u.push(&ndarray{})
		return nil
	case "numpy.dtype":
		if len(args) > 0 {
			if code, ok := args[0].(string); ok {
				u.push(&dtype{code})
				return nil
			}
		}
		return errors.New("a dtype without a name")
	case "numpy.core.numeric._frombuffer", "numpy._core.numeric._frombuffer": // from protocol 5 on
		if len(args) != 4 {
			return errors.New("not the arguments of an array")
		}
		a := &ndarray{}
		u.push(a)
		return a.set(tuple{nil, args[2], args[1], args[3] != any("C"), args[0]})
	}
	return fmt.Errorf("a call of %s does not occur in the files this reads", f)
}

// build gives an object its state; a dtype's says nothing more about bytes.
func (u *unpickler) build() error {
	state, err := pop[tuple](u)
	if err != nil {
		return err
	}
	if len(u.stack) == 0 {
		return errUnderflow
	}
	switch v := u.stack[len(u.stack)-1].(type) {
	case *dtype:
		return nil
	case *ndarray:
		return v.set(state)
	default:
		return fmt.Errorf("a state for %T", v)
	}
}

// set takes NumPy's state: version, shape, dtype, Fortran order, bytes.
func (a *ndarray) set(state tuple) error {
	if len(state) != 5 {
		return errors.New("not the state of an array")
	}
	shape, ok1 := state[1].(tuple)
	kind, ok2 := state[2].(*dtype)
	fortran, ok3 := state[3].(bool)
	if !ok1 || !ok2 || !ok3 || fortran {
		return errors.New("not the state of an array in C order")
	}
	a.dtype = kind.code
	a.data, _ = state[4].(span) // an array without a picture is of no interest
	a.shape = nil
	for _, d := range shape {
		n, ok := d.(int64)
		if !ok || n < 0 {
			return errors.New("an array's shape is not made of integers")
		}
		a.shape = append(a.shape, n)
	}
	return nil
}
