package pickle

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
)

func load(o Unpickler, pickle string) (any, int64, error) {
	return o.Load(strings.NewReader(pickle), int64(len(pickle)))
}

// TestLoad covers plain values; package pt tests the machine with checkpoints.
func TestLoad(t *testing.T) {
	pair := &Dict{}
	pair.Set("a", int64(7))
	for pickle, want := range map[string]any{
		"N.": nil, "\x88.": true, "\x89.": false, "K\xff.": int64(255), "M\x01\x02.": int64(513), "J\xff\xff\xff\xff.": int64(-1),
		"\x8a\x00.": int64(0), "\x8a\x01\xfe.": int64(-2), "\x8b\x01\x00\x00\x00\x05.": int64(5),
		"G\x3f\xf8\x00\x00\x00\x00\x00\x00.": 1.5,
		"\x8c\x02\xc3\xa9.":                  "é", "X\x01\x00\x00\x00a.": "a", "U\x01a.": "a",
		"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00].": &List{[]any{}},
		"](K\x01K\x02e.":    &List{[]any{int64(1), int64(2)}},
		"NN\x86.":           &Tuple{[]any{nil, nil}},
		"}\x8c\x01aK\x07s.": pair,
		"N\x94h\x00\x86.":   &Tuple{[]any{nil, nil}},
	} {
		v, n, err := load(Unpickler{}, pickle+"more")
		if err != nil || n != int64(len(pickle)) || !reflect.DeepEqual(v, want) {
			t.Errorf("%q: %v, %d bytes, %v", pickle, v, n, err)
		}
	}
}

// made is an object of the tests' functions.
type made struct{ args, state any }

func (*made) TypeName() string { return "Made" }

// asking allows one class, whose objects accept any arguments and any state.
func asking() Unpickler {
	return Unpickler{
		FindClass: func(name string) error {
			if name != "m.Made" {
				return fmt.Errorf("%s is refused", name)
			}
			return nil
		},
		Call: func(_ Global, args []any) (any, error) {
			if len(args) > 1 {
				return nil, errors.New("too many arguments")
			}
			return &made{args: args}, nil
		},
		SetState: func(object, state any) error {
			m, ok := object.(*made)
			if !ok {
				return fmt.Errorf("a state for a %s", TypeName(object))
			}
			m.state = state
			return nil
		},
		PersistentLoad: func(id []any) (any, error) { return len(id), nil },
	}
}

func TestGlobalsOnRequest(t *testing.T) {
	for pickle, want := range map[string]any{
		"cm\nMade\n.":                            Global("m.Made"),
		"cm\nMade\n)R.":                          &made{args: []any{}},
		"\x8c\x01m\x8c\x04Made\x93K\x01\x85RNb.": &made{args: []any{int64(1)}},
		"NN\x86Q.":                               2,
	} {
		if v, _, err := load(asking(), pickle); err != nil || !reflect.DeepEqual(v, want) {
			t.Errorf("%q: %v, %v", pickle, v, err)
		}
	}
	for pickle, want := range map[string][2]string{ // with the functions, and without
		"cos\nsystem\n.":           {"os.system is refused", "refers to os.system"},
		"\x8c\x02os\x8c\x01x\x93.": {"os.x is refused", "refers to os.x"},
		"cm\nMade\nNN\x86R.":       {"m.Made: too many arguments", "refers to m.Made"},
		"K\x01)R.":                 {"not of a function", "not of a function"},
		"cm\nMade\n)RNa.":          {"appends to a Made", "refers to m.Made"},
		"]Nb.":                     {"a state for a list", "sets attributes of a list"},
		"Nb.":                      {"the stack is empty", "the stack is empty"},
		"NQ.":                      {"not a tuple", "not a tuple"},
	} {
		for i, o := range []Unpickler{asking(), {}} {
			if _, _, err := load(o, pickle); err == nil || !strings.Contains(err.Error(), want[i]) {
				t.Errorf("%q: %v, want %q", pickle, err, want[i])
			}
		}
	}
	if _, _, err := load(Unpickler{}, ")Q."); err == nil || !strings.Contains(err.Error(), "a persistent object") {
		t.Errorf("a persistent id without PersistentLoad: %v", err)
	}
	allowing := Unpickler{FindClass: asking().FindClass}
	if _, _, err := load(allowing, "cm\nMade\n)R."); err == nil || !strings.Contains(err.Error(), "m.Made cannot be called") {
		t.Errorf("a class without Call: %v", err)
	}
}

// counted counts the bytes read from a file.
type counted struct {
	*bytes.Reader
	n int
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.n += n
	return n, err
}

func TestLongBytes(t *testing.T) {
	long := func(n int) string {
		return "(B" + string([]byte{byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24)}) + strings.Repeat("x", n) + "C\x02\xff\xfeT\x04\x00\x00\x00abcdU\x01\xfft."
	}
	for _, n := range []int{0, 3, 4, 5000, 1 << 20} {
		pickle := long(n)
		var first any = Span{6, int64(n)}
		if n < 4 {
			first = strings.Repeat("x", n)
		}
		want := &Tuple{[]any{first, "\xff\xfe", Span{int64(6 + n + 4 + 5), 4}, "\xff"}}
		file := &counted{Reader: bytes.NewReader([]byte(pickle))}
		for what, r := range map[string]io.Reader{"file": file, "stream": io.MultiReader(strings.NewReader(pickle))} {
			v, length, err := Unpickler{LongBytes: 4}.Load(r, int64(len(pickle)))
			if err != nil || length != int64(len(pickle)) || !reflect.DeepEqual(v, want) {
				t.Errorf("%d bytes, %s: %v, %d bytes, %v", n, what, v, length, err)
			}
		}
		if file.n > 10_000 {
			t.Errorf("%d bytes were read from a file with a Span of %d bytes", file.n, n)
		}
	}
	for pickle, want := range map[string]string{
		"B\xff\xff\xff\xffabc.":                 "ends within a pickle",
		"\x8e\xff\xff\xff\xff\xff\xff\xff\xff.": "ends within a pickle",
		"\x96\xff\xff\xff\xff\xff\xff\xff\x7f.": "ends within a pickle",
		"\x8c\x01\xff.":                         "not UTF-8",
		"B\x04\x00\x00\x00abcd":                 "ends within a pickle",
	} {
		if _, _, err := load(Unpickler{LongBytes: 4}, pickle); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", pickle, err, want)
		}
	}
	for _, pickle := range []string{"B\x01\x00\x00\x00a.", "C\x00.", "\x8e\x00\x00\x00\x00\x00\x00\x00\x00.", "\x96\x00\x00\x00\x00\x00\x00\x00\x00."} {
		if _, _, err := load(Unpickler{}, pickle); err == nil || !strings.Contains(err.Error(), "bytes are not supported") {
			t.Errorf("%q: %v", pickle, err)
		}
	}
	if _, _, err := load(Unpickler{}, "U\x01\xff."); err == nil || !strings.Contains(err.Error(), "not UTF-8") {
		t.Errorf("Python 2's str as text: %v", err)
	}
}

// FuzzLoad checks that Spans are within the file.
func FuzzLoad(f *testing.F) {
	for _, seed := range []string{
		"](K\x01K\x02e.", "}\x8c\x01aK\x07s.", "cm\nMade\nK\x01\x85RNb.", "NN\x86Q.", "\x80\x02(B\x05\x00\x00\x00abcdeU\x01\xffq\x00h\x00t.",
		"\x80\x05\x96\x08\x00\x00\x00\x00\x00\x00\x0012345678\x94.",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		o := asking()
		o.LongBytes = 4
		v, n, err := o.Load(bytes.NewReader(file), int64(len(file)))
		if n > int64(len(file)) || err == nil && n < 2 {
			t.Fatalf("%d of %d bytes, %v", n, len(file), err)
		}
		if s, ok := v.(Span); ok && (s.Offset < 0 || s.Length < 4 || s.Offset+s.Length >= n) {
			t.Fatalf("%+v in a pickle of %d bytes", s, n)
		}
		streamed, m, err2 := o.Load(io.MultiReader(bytes.NewReader(file)), int64(len(file)))
		if (err == nil) != (err2 == nil) || n != m || TypeName(v) != TypeName(streamed) {
			t.Fatalf("a file makes a %s of %d bytes, a stream a %s of %d: %v, %v", TypeName(v), n, TypeName(streamed), m, err, err2)
		}
	})
}
