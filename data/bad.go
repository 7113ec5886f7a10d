package data

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// BadImage is an image that could not be read, and why.
type BadImage struct {
	Name string
	Err  error
}

// badImages counts unreadable images against a limit.
type badImages struct {
	limit int
	where string

	mu    sync.Mutex
	found map[string]error
}

// add counts an unreadable image. It returns an error that lists all of them
// once they exceed the limit, or a [ShortageError].
func (b *badImages) add(name string, err error) error {
	if isShortage(err) {
		return &ShortageError{Where: b.where, Err: err}
	}
	b.mu.Lock()
	if b.found == nil {
		b.found = map[string]error{}
	}
	b.found[name] = err
	n := len(b.found)
	b.mu.Unlock()
	if n <= b.limit {
		return nil
	}
	return b.error()
}

func (b *badImages) list() []BadImage {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := make([]BadImage, 0, len(b.found))
	for _, name := range slices.Sorted(maps.Keys(b.found)) {
		list = append(list, BadImage{Name: name, Err: b.found[name]})
	}
	return list
}

// listed bounds how many bad images an error message names.
const listed = 20

func (b *badImages) error() error {
	return &BadImagesError{Where: b.where, Limit: b.limit, Images: b.list()}
}

// BadImagesError says that more images than allowed could not be read.
type BadImagesError struct {
	Where  string     // the data set
	Limit  int        // Options.MaxBadImages
	Images []BadImage // found so far, by name
}

// Error names the images (the first 20 of them), the causes and the limit.
func (e *BadImagesError) Error() string {
	var s strings.Builder
	fmt.Fprintf(&s, "%s: ", e.Where)
	for i, p := range e.Images[:min(len(e.Images), listed)] {
		if i > 0 {
			s.WriteString("; ")
		}
		fmt.Fprintf(&s, "%s: %v", p.Name, p.Err)
	}
	if more := len(e.Images) - listed; more > 0 {
		fmt.Fprintf(&s, "; and %d more", more)
	}
	fmt.Fprintf(&s, " (bad images: %d, allowed: %d)", len(e.Images), e.Limit)
	return s.String()
}

// Unwrap returns the causes.
func (e *BadImagesError) Unwrap() []error {
	causes := make([]error, len(e.Images))
	for i, p := range e.Images {
		causes[i] = p.Err
	}
	return causes
}
