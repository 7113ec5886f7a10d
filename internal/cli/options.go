package cli

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"iddpm/internal/commas"
	"iddpm/storage"
)

// Option is one flag of a command and the place where its value goes. Flags, IDDPM_
// variables and files of --config accept the same text.
type Option struct {
	Name     string // in kebab-case
	Alias    string
	Category string
	Usage    string // `NAME` in it stands for the value
	Value    any    // pointer to the default, and where the value goes: *int, *uint64, *float64, *bool, *string, *[]int, *[]uint64, *[]float64 or textValue
	Standard string // default as shown by help, if not the value
	Local    bool   // a path on this machine; a URL is an error
	Path     bool   // a path or a URL
	Hidden   bool   // accepted for compatibility with improved-diffusion
	Timed    bool   // a setting of training or data that bench uses too
	Variable string // improved-diffusion's environment variable, in addition to ours
}

// textValue is a value with a syntax of its own. Set of its zero value only checks the text.
type textValue interface {
	Set(text string) error
	String() string
}

// optionFlag is an option as urfave sees it. To urfave the value is text, so that one
// parser handles all sources.
type optionFlag struct {
	*urfave.StringFlag
	value      any
	positional bool
	path       bool
	standard   string // as Option.Standard
	variable   string
}

func (o Option) flag() *optionFlag {
	f := &urfave.StringFlag{Name: o.Name, Category: o.Category, Usage: o.Usage, Hidden: o.Hidden, DefaultText: Format(o.Value)}
	if o.Alias != "" {
		f.Aliases = []string{o.Alias}
	}
	if o.Standard != "" {
		f.DefaultText = o.Standard
	}
	return &optionFlag{StringFlag: f, value: o.Value, path: o.Path || o.Local, standard: o.Standard, variable: o.Variable}
}

// timed returns an option that bench uses too.
func timed(o Option) Option {
	o.Timed = true
	return o
}

// Select returns the options of these names.
func Select(options []Option, names ...string) (some []Option) {
	for _, o := range options {
		if slices.Contains(names, o.Name) {
			some = append(some, o)
		}
	}
	return some
}

// FlagsOf returns the flags of options.
func FlagsOf(options ...Option) []urfave.Flag {
	flags := make([]urfave.Flag, len(options))
	for i, o := range options {
		flags[i] = o.flag()
	}
	return flags
}

// PositionalFlag returns a hidden flag whose value is a command's argument, such as
// improved-diffusion's --model_path for a checkpoint.
func PositionalFlag(name string) urfave.Flag {
	f := Option{Name: name, Hidden: true, Value: new(string), Path: true}.flag()
	f.positional = true
	return f
}

// TakesValue reports whether help shows a placeholder for the value.
func (f *optionFlag) TakesValue() bool { return !f.boolean() }

// String returns the flag's help line.
func (f *optionFlag) String() string { return urfave.FlagStringer(f) }

func (f *optionFlag) boolean() bool {
	_, ok := f.value.(*bool)
	return ok
}

func (f *optionFlag) syntax() Flag {
	scratch := reflect.New(reflect.TypeOf(f.value).Elem()).Interface()
	return Flag{
		Name:       f.Name,
		boolean:    f.boolean(),
		positional: f.positional,
		Path:       f.path,
		variable:   f.variable,
		Check: func(text string) error {
			if isStandard(f.standard, f.value, text) {
				return nil
			}
			return Set(scratch, text)
		},
	}
}

// Apply stores the values of the flags that were given.
func Apply(c *urfave.Context, options []Option) error {
	for _, o := range options {
		if !c.IsSet(o.Name) {
			continue
		}
		text := c.String(o.Name)
		if !o.Local && !o.Path && isStandard(o.Standard, o.Value, text) {
			text = "" // the default of all of these
		}
		err := Set(o.Value, text)
		if err == nil && o.Local {
			err = OnThisMachine(c.String(o.Name))
		}
		if err != nil {
			return Errorf("--%s: %w", o.Name, err)
		}
	}
	return nil
}

// isStandard reports whether text is the default of a text option as help shows it, such
// as "all": a user may copy it.
func isStandard(standard string, value any, text string) bool {
	_, isText := value.(*string)
	return isText && standard != "" && text == standard
}

// OnThisMachine rejects a URL.
func OnThisMachine(path string) error {
	if storage.IsURL(path) {
		return Errorf("%s is a URL, and this must be a path on this machine: s3://, gs:// and file:/// URLs name run folders and checkpoints", path)
	}
	return nil
}

// AnySet reports whether one of the options was given.
func AnySet(c *urfave.Context, options []Option) bool {
	for _, o := range options {
		if c.IsSet(o.Name) {
			return true
		}
	}
	return false
}

// Set parses text into what value points to.
func Set(value any, text string) (err error) {
	switch v := value.(type) {
	case *string:
		*v = text
	case *bool:
		*v, err = parseBool(text)
	case *int:
		*v, err = ParseInt(text)
	case *uint64:
		*v, err = parseUint(text)
	case *float64:
		*v, err = parseFloat(text)
	case *[]int:
		*v, err = parseList(text, ParseInt)
	case *[]uint64:
		*v, err = parseList(text, parseUint)
	case *[]float64:
		*v, err = parseList(text, parseFloat)
	case textValue:
		err = v.Set(text)
	default:
		panic(fmt.Sprintf("option of type %T", value))
	}
	return err
}

// ParseInt reads a whole number, with spaces around it or not.
func ParseInt(text string) (int, error) {
	v, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil {
		return 0, fmt.Errorf("%q is not a whole number", text)
	}
	return v, nil
}

func parseUint(text string) (uint64, error) {
	v, err := strconv.ParseUint(strings.TrimSpace(text), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not a whole number from 0 to 2^64-1", text)
	}
	return v, nil
}

func parseFloat(text string) (float64, error) {
	v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not a number", text)
	}
	return v, nil
}

// parseList reads a comma-separated list; empty text is an empty list.
func parseList[T any](text string, parse func(string) (T, error)) ([]T, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	var list []T
	for part := range strings.SplitSeq(text, ",") {
		v, err := parse(part)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, nil
}

// Format is the inverse of [Set]: it returns what value points to as text.
func Format(value any) string {
	switch v := value.(type) {
	case *[]int:
		return commas.Join(*v)
	case *[]uint64:
		return commas.Join(*v)
	case *[]float64:
		return commas.Join(*v)
	case *string:
		return *v
	case textValue:
		return v.String()
	}
	return fmt.Sprint(reflect.ValueOf(value).Elem())
}
