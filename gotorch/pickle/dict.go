package pickle

import "iter"

// Dict is a Python dict or OrderedDict, with keys in the order in which they were first
// set. The zero value is an empty dict. Keys are compared as in Go: 1, 1.0 and true are
// three keys here and one in Python.
type Dict struct {
	// Ordered makes it a collections.OrderedDict, as Module.state_dict() returns.
	Ordered bool

	keys, values []any
	index        map[any]int
}

// Len returns the number of keys.
func (d *Dict) Len() int { return len(d.keys) }

// Get returns the value of a key. An int finds the key of an equal int64.
func (d *Dict) Get(key any) (any, bool) {
	i, ok := d.index[normalKey(key)]
	if !ok {
		return nil, false
	}
	return d.values[i], true
}

// Set sets the value of a key. A new key comes last; an existing one keeps its position.
// The key is a string, integer, float, bool or nil; an int becomes an int64.
func (d *Dict) Set(key, value any) {
	key = normalKey(key)
	if i, ok := d.index[key]; ok {
		d.values[i] = value
		return
	}
	if d.index == nil {
		d.index = map[any]int{}
	}
	d.index[key] = len(d.keys)
	d.keys = append(d.keys, key)
	d.values = append(d.values, value)
}

// Keys returns the keys in their order.
func (d *Dict) Keys() []any { return append([]any(nil), d.keys...) }

// All yields the keys and values in their order.
func (d *Dict) All() iter.Seq2[any, any] {
	return func(yield func(any, any) bool) {
		for i, key := range d.keys {
			if !yield(key, d.values[i]) {
				return
			}
		}
	}
}

// Values returns the dict's own slice of values, in the order of the keys.
func (d *Dict) Values() []any { return d.values }

func normalKey(key any) any {
	if i, ok := key.(int); ok {
		return int64(i)
	}
	return key
}

// IsKey reports whether a value may be a key.
func IsKey(v any) bool {
	switch v.(type) {
	case string, int64, int, float64, bool, nil:
		return true
	}
	return false
}
