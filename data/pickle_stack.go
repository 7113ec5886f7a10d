package data

import (
	"errors"
	"fmt"
)

var errUnderflow = errors.New("a value is missing")

func (u *unpickler) push(v any) { u.stack = append(u.stack, v) }

// pop takes the topmost value, which must be a T.
func pop[T any](u *unpickler) (T, error) {
	var none T
	if len(u.stack) == 0 {
		return none, errUnderflow
	}
	top := u.stack[len(u.stack)-1]
	u.stack = u.stack[:len(u.stack)-1]
	v, ok := top.(T)
	if !ok {
		return none, fmt.Errorf("%T where %T is expected", top, none)
	}
	return v, nil
}

// popMark takes the values above the topmost mark.
func (u *unpickler) popMark() ([]any, error) {
	for i := len(u.stack) - 1; i >= 0; i-- {
		if _, ok := u.stack[i].(mark); ok {
			items := append([]any(nil), u.stack[i+1:]...)
			u.stack = u.stack[:i]
			return items, nil
		}
	}
	return nil, errUnderflow
}

// items takes the values above a mark, or n of them.
func (u *unpickler) items(marked bool, n int) ([]any, error) {
	if marked {
		return u.popMark()
	}
	if len(u.stack) < n {
		return nil, errUnderflow
	}
	items := append([]any(nil), u.stack[len(u.stack)-n:]...)
	u.stack = u.stack[:len(u.stack)-n]
	return items, nil
}

func (u *unpickler) tuple(n int) error {
	items, err := u.items(false, n)
	u.push(tuple(items))
	return err
}

func (u *unpickler) appendItems(marked bool) error {
	items, err := u.items(marked, 1)
	if err != nil {
		return err
	}
	l, err := pop[*list](u)
	if err != nil {
		return err
	}
	l.items = append(l.items, items...)
	u.push(l)
	return nil
}

func (u *unpickler) setItems(marked bool) error {
	items, err := u.items(marked, 2)
	if err != nil {
		return err
	}
	d, err := pop[*dict](u)
	if err != nil {
		return err
	}
	for ; len(items) >= 2; items = items[2:] {
		key, ok := items[0].(string)
		if !ok {
			return fmt.Errorf("a key is %T, not a string", items[0])
		}
		d.items[key] = items[1]
	}
	u.push(d)
	return nil
}
