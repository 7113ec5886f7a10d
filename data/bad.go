package data

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// BadPicture is a picture that could not be read, and why.
type BadPicture struct {
	Name string
	Err  error
}

// badPictures counts unreadable pictures against a limit.
type badPictures struct {
	limit int
	where string

	mu    sync.Mutex
	found map[string]error
}

// add notes an unreadable picture; it returns an error that lists all of them
// when they are more than the limit, or a [ShortageError].
func (b *badPictures) add(name string, err error) error {
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

func (b *badPictures) list() []BadPicture {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := make([]BadPicture, 0, len(b.found))
	for _, name := range slices.Sorted(maps.Keys(b.found)) {
		list = append(list, BadPicture{Name: name, Err: b.found[name]})
	}
	return list
}

// listed bounds how many bad pictures an error message names.
const listed = 20

func (b *badPictures) error() error {
	return &BadPicturesError{Where: b.where, Limit: b.limit, Pictures: b.list()}
}

// BadPicturesError says that more pictures than allowed could not be read.
type BadPicturesError struct {
	Where    string       // the data set
	Limit    int          // Options.MaxBadImages
	Pictures []BadPicture // found so far, by name
}

// Error names the pictures (the first 20 of them), the causes and the limit.
func (e *BadPicturesError) Error() string {
	var s strings.Builder
	fmt.Fprintf(&s, "%s: ", e.Where)
	for i, p := range e.Pictures[:min(len(e.Pictures), listed)] {
		if i > 0 {
			s.WriteString("; ")
		}
		fmt.Fprintf(&s, "%s: %v", p.Name, p.Err)
	}
	if more := len(e.Pictures) - listed; more > 0 {
		fmt.Fprintf(&s, "; and %d more", more)
	}
	fmt.Fprintf(&s, " (bad pictures: %d, allowed: %d)", len(e.Pictures), e.Limit)
	return s.String()
}

// Unwrap returns the causes.
func (e *BadPicturesError) Unwrap() []error {
	causes := make([]error, len(e.Pictures))
	for i, p := range e.Pictures {
		causes[i] = p.Err
	}
	return causes
}
