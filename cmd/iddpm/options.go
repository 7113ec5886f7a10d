package main

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"iddpm/storage"
)

// option is one flag of a command and the place where its value goes. Flags, IDDPM_
// variables and files of --config accept the same text.
type option struct {
	name     string // in kebab-case
	alias    string
	category string
	usage    string // `NAME` in it stands for the value
	value    any    // pointer to the default, and where the value goes: *int, *uint64, *float64, *bool, *string, *[]int, *[]uint64, *[]float64 or *microbatchValue
	standard string // default as shown by help, if not the value
	local    bool   // a path on this machine; a URL is an error
	path     bool   // a path or a URL
	hidden   bool   // accepted for compatibility with improved-diffusion
	timed    bool   // a setting of training or data that bench uses too
	variable string // improved-diffusion's environment variable, in addition to ours
}

// optionFlag is an option as urfave sees it. To urfave the value is text, so that one
// parser handles all sources.
type optionFlag struct {
	*cli.StringFlag
	value      any
	positional bool
	path       bool
	standard   string // as option.standard
	variable   string
}

func (o option) flag() *optionFlag {
	f := &cli.StringFlag{Name: o.name, Category: o.category, Usage: o.usage, Hidden: o.hidden, DefaultText: show(o.value)}
	if o.alias != "" {
		f.Aliases = []string{o.alias}
	}
	if o.standard != "" {
		f.DefaultText = o.standard
	}
	return &optionFlag{StringFlag: f, value: o.value, path: o.path || o.local, standard: o.standard, variable: o.variable}
}

// timed returns an option that bench uses too.
func timed(o option) option {
	o.timed = true
	return o
}

// chosen returns the options of these names.
func chosen(options []option, names ...string) (some []option) {
	for _, o := range options {
		if slices.Contains(names, o.name) {
			some = append(some, o)
		}
	}
	return some
}

// flagsOf returns the flags of options.
func flagsOf(options ...option) []cli.Flag {
	flags := make([]cli.Flag, len(options))
	for i, o := range options {
		flags[i] = o.flag()
	}
	return flags
}

// positionalFlag returns a hidden flag whose value is a command's argument, such as
// improved-diffusion's --model_path for a checkpoint.
func positionalFlag(name string) cli.Flag {
	f := option{name: name, hidden: true, value: new(string), path: true}.flag()
	f.positional = true
	return f
}

// TakesValue reports whether help shows a placeholder for the value.
func (f *optionFlag) TakesValue() bool { return !f.boolean() }

// String returns the flag's help line.
func (f *optionFlag) String() string { return cli.FlagStringer(f) }

func (f *optionFlag) boolean() bool {
	_, ok := f.value.(*bool)
	return ok
}

func (f *optionFlag) syntax() flagSyntax {
	scratch := reflect.New(reflect.TypeOf(f.value).Elem()).Interface()
	return flagSyntax{
		name:       f.Name,
		boolean:    f.boolean(),
		positional: f.positional,
		path:       f.path,
		variable:   f.variable,
		check: func(text string) error {
			if isStandard(f.standard, f.value, text) {
				return nil
			}
			return set(scratch, text)
		},
	}
}

// apply stores the values of the flags that were given.
func apply(c *cli.Context, options []option) error {
	for _, o := range options {
		if !c.IsSet(o.name) {
			continue
		}
		text := c.String(o.name)
		if !o.local && !o.path && isStandard(o.standard, o.value, text) {
			text = "" // the default of all of these
		}
		err := set(o.value, text)
		if err == nil && o.local {
			err = onThisMachine(c.String(o.name))
		}
		if err != nil {
			return wrongUse("--%s: %w", o.name, err)
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

// onThisMachine rejects a URL.
func onThisMachine(path string) error {
	if storage.IsURL(path) {
		return wrongUse("%s is a URL, and this must be a path on this machine: s3://, gs:// and file:/// URLs name run folders and checkpoints", path)
	}
	return nil
}

// anySet reports whether one of the options was given.
func anySet(c *cli.Context, options []option) bool {
	for _, o := range options {
		if c.IsSet(o.name) {
			return true
		}
	}
	return false
}

// set parses text into what value points to.
func set(value any, text string) (err error) {
	switch v := value.(type) {
	case *string:
		*v = text
	case *bool:
		*v, err = parseBool(text)
	case *int:
		*v, err = parseInt(text)
	case *uint64:
		*v, err = parseUint(text)
	case *float64:
		*v, err = parseFloat(text)
	case *[]int:
		*v, err = parseList(text, parseInt)
	case *[]uint64:
		*v, err = parseList(text, parseUint)
	case *[]float64:
		*v, err = parseList(text, parseFloat)
	case *microbatchValue:
		err = v.Set(text)
	default:
		panic(fmt.Sprintf("option of type %T", value))
	}
	return err
}

func parseInt(text string) (int, error) {
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

// show is the inverse of set: it returns what value points to as text.
func show(value any) string {
	switch v := value.(type) {
	case *[]int:
		return showList(*v)
	case *[]uint64:
		return showList(*v)
	case *[]float64:
		return showList(*v)
	case *string:
		return *v
	case *microbatchValue:
		return v.String()
	}
	return fmt.Sprint(reflect.ValueOf(value).Elem())
}

func showList[T any](list []T) string {
	parts := make([]string, len(list))
	for i, v := range list {
		parts[i] = fmt.Sprint(v)
	}
	return strings.Join(parts, ",")
}
