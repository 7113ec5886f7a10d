package storage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// MirrorOptions say what a Mirror does; the zero value sends every file.
type MirrorOptions struct {
	Ignore []string      // files at the top of the folder that stay here
	Look   time.Duration // how often the folder is looked at; 0: a second
	Grow   time.Duration // a file that grows is not sent again before; 0: half a minute
	// Replaced returns which of the files there are to go, now that those of `sent`
	// have arrived whole, the newest first; nil: none.
	Replaced func(there, sent []string) []string
	Sent     func(name string, size int64, took time.Duration) // hears of files that have arrived; nil: nobody does
	Removed  func(name string)                                 // hears of files that are gone there; nil: nobody does
}

func (o MirrorOptions) withDefaults() MirrorOptions {
	o.Look = cmp.Or(o.Look, time.Second)
	o.Grow = cmp.Or(o.Grow, 30*time.Second)
	if o.Sent == nil {
		o.Sent = func(string, int64, time.Duration) {}
	}
	if o.Removed == nil {
		o.Removed = func(string) {}
	}
	return o
}

// Mirror sends what a local folder holds, and what comes to be in it, until it
// is closed. Files come and change there by renaming, or grow; those whose names
// begin with a dot are half-written, and stay. That a file vanishes here removes
// nothing there.
type Mirror struct {
	folder  *Folder
	dir     string
	options MirrorOptions
	sent    map[string]version
	fresh   []string // sent since files there were last pruned, the newest first
	failure error    // the last one
	cancel  context.CancelFunc
	closing chan struct{} // closed: send what is left, and end
	done    chan struct{} // closed: it has ended
}

// version tells one state of a file from another.
type version struct {
	size    int64
	changed time.Time
	again   time.Time // a later state is not sent before
}

// pending is a file to send.
type pending struct {
	name string
	info os.FileInfo
}

// Mirror begins to send dir beside whatever goes on.
func (f *Folder) Mirror(dir string, o MirrorOptions) *Mirror {
	ctx, cancel := context.WithCancel(context.Background())
	m := &Mirror{folder: f, dir: dir, options: o.withDefaults(), sent: map[string]version{},
		cancel: cancel, closing: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(m.done)
		m.run(ctx)
	}()
	return m
}

// run looks and sends until the mirror is closed, and then until all is there.
func (m *Mirror) run(ctx context.Context) {
	retry := m.folder.options.backOff()
	retry.Reset()
	closing := m.closing
	for ctx.Err() == nil {
		last := closed(m.closing)
		err := m.pass(ctx, last)
		wait := m.options.Look
		switch {
		case err == nil && last:
			return
		case err == nil:
			retry.Reset()
		case ctx.Err() == nil:
			m.failure, wait = err, retry.NextBackOff()
			m.folder.options.Failed(err, wait)
		}
		if last {
			closing = nil // it is closed, and would end every wait
		}
		select {
		case <-time.After(wait):
		case <-closing:
			retry.Reset()
		case <-ctx.Done():
		}
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// Left is what a Mirror could not send.
type Left struct {
	Dir   string   // where the files lie
	Names []string // which they are
	err   error
}

// Error names the files, and where they lie.
func (l *Left) Error() string {
	names := l.Names
	more := ""
	if len(names) > 5 {
		names, more = names[:5], fmt.Sprintf(" and %d more", len(l.Names)-5)
	}
	return fmt.Sprintf("not uploaded: %s%s; what is missing there lies in %s: %v", strings.Join(names, ", "), more, l.Dir, l.err)
}

func (l *Left) Unwrap() error { return l.err }

// Close sends what is left, and returns when all is there, or, with a *Left,
// when ctx ends.
func (m *Mirror) Close(ctx context.Context) error {
	close(m.closing)
	defer m.cancel()
	select {
	case <-m.done:
	case <-ctx.Done():
		m.cancel()
		<-m.done
	}
	all, err := m.due(true)
	if err == nil && (len(all) == 0 || ctx.Err() == nil) {
		return nil
	}
	left := &Left{Dir: m.dir, err: errors.Join(err, m.failure)}
	for _, p := range all {
		left.Names = append(left.Names, p.name)
	}
	return left
}

// pass sends what is due, and then prunes.
func (m *Mirror) pass(ctx context.Context, last bool) error {
	all, err := m.due(last)
	errs := []error{err}
	var sent []string
	for _, p := range all {
		arrived, err := m.send(ctx, p)
		if _, gone := os.Lstat(m.path(p)); !errors.Is(gone, fs.ErrNotExist) { // or it has been pruned here meanwhile
			errs = append(errs, err)
		}
		if arrived {
			sent = append(sent, p.name)
		}
	}
	m.fresh = append(sent, m.fresh...)
	return errors.Join(append(errs, m.prune(ctx))...)
}

// send sends a file, unless an earlier process has.
func (m *Mirror) send(ctx context.Context, p pending) (arrived bool, err error) {
	start := time.Now()
	if _, before := m.sent[p.name]; !before && m.there(ctx, p) {
		m.sent[p.name] = version{size: p.info.Size(), changed: p.info.ModTime()}
		return false, nil
	}
	if err := m.folder.put(ctx, p.name, m.path(p)); err != nil {
		return false, m.folder.explain(p.name, err)
	}
	took := time.Since(start)
	// A large file that grows must not keep the line busy.
	m.sent[p.name] = version{p.info.Size(), p.info.ModTime(), time.Now().Add(max(m.options.Grow, 20*took))}
	m.options.Sent(p.name, p.info.Size(), took)
	return true, nil
}

func (m *Mirror) path(p pending) string { return filepath.Join(m.dir, filepath.FromSlash(p.name)) }

// there reports whether an earlier process has sent the file.
func (m *Mirror) there(ctx context.Context, p pending) bool {
	a, err := m.folder.attributes(ctx, p.name)
	if err != nil {
		return false // sending will tell why
	}
	same, err := m.folder.holds(ctx, p.name, m.path(p), a)
	return err == nil && same
}

// prune removes what is replaced there.
func (m *Mirror) prune(ctx context.Context) error {
	if m.options.Replaced == nil || len(m.fresh) == 0 {
		return nil
	}
	objects, err := m.folder.List(ctx, "")
	if err != nil {
		return err
	}
	var there []string
	for _, o := range objects {
		there = append(there, o.Name)
	}
	var errs []error
	for _, name := range m.options.Replaced(there, m.fresh) {
		err := m.folder.Remove(ctx, name)
		errs = append(errs, err)
		if err == nil {
			m.options.Removed(name)
		}
	}
	err = errors.Join(errs...)
	if err == nil {
		m.fresh = nil
	}
	return err
}

// due returns the files that are to be sent now, the newest first: of several
// checkpoints that one counts.
func (m *Mirror) due(last bool) ([]pending, error) {
	var all []pending
	err := filepath.WalkDir(m.dir, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && path != m.dir {
			return nil
		}
		if err != nil {
			return err
		}
		name, err := filepath.Rel(m.dir, path)
		switch {
		case err != nil:
			return err
		case name != "." && strings.HasPrefix(e.Name(), "."):
			if e.IsDir() {
				return fs.SkipDir
			}
			return nil
		case !e.Type().IsRegular(), slices.Contains(m.options.Ignore, name):
			return nil
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && m.isDue(filepath.ToSlash(name), info, last) {
			all = append(all, pending{filepath.ToSlash(name), info})
		}
		return err
	})
	slices.SortStableFunc(all, func(a, b pending) int { return b.info.ModTime().Compare(a.info.ModTime()) })
	return all, err
}

func (m *Mirror) isDue(name string, info os.FileInfo, last bool) bool {
	v, ok := m.sent[name]
	if !ok {
		return true
	}
	same := v.size == info.Size() && v.changed.Equal(info.ModTime())
	return !same && (last || time.Now().After(v.again))
}
