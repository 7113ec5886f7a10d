package watch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"iddpm/storage"
)

// Options configure a [Watcher]. The zero value works.
type Options struct {
	Interval       time.Duration // between two looks at local folders; 0: 1 s
	RemoteInterval time.Duration // between two requests to a URL; 0: 15 s
	Storage        storage.Options
}

// readers is how many runs are read at a time.
const readers = 4

// Watcher follows runs. Its methods are safe for concurrent use.
type Watcher struct {
	options Options
	stop    context.CancelFunc
	done    sync.WaitGroup
	slots   chan struct{} // bounds the memory of concurrent readings

	mu      sync.Mutex
	runs    []*run        // grows
	version int           // grows with every change
	changed chan struct{} // closed at the next change
}

// New begins to follow the runs in the given folders, or at s3://, gs:// and file:// URLs. A folder
// must exist; the run in it may begin later. A local folder that holds no run but folders with runs
// stands for these, also for those that appear later.
func New(paths []string, o Options) (*Watcher, error) {
	if o.Interval == 0 {
		o.Interval = time.Second
	}
	if o.RemoteInterval == 0 {
		o.RemoteInterval = 15 * time.Second
	}
	ctx, stop := context.WithCancel(context.Background())
	w := &Watcher{options: o, stop: stop, changed: make(chan struct{}), slots: make(chan struct{}, readers)}
	for _, path := range paths {
		if isParent(path) {
			w.discover(ctx, path)
			w.done.Go(func() { w.keepDiscovering(ctx, path) })
			continue
		}
		if err := w.add(ctx, path); err != nil {
			return nil, errors.Join(err, w.Close())
		}
	}
	return w, nil
}

// add begins to follow the run at a path.
func (w *Watcher) add(ctx context.Context, path string) error {
	s, err := openSource(ctx, path, w.options.Storage)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	r := &run{id: fmt.Sprint(len(w.runs)), name: path, source: s, history: newHistory()}
	w.runs = append(w.runs, r)
	w.done.Go(func() { w.follow(ctx, r) })
	return nil
}

// isParent reports whether a path is a local folder without a run of its own.
func isParent(path string) bool {
	about, err := os.Stat(path)
	return !storage.IsURL(path) && err == nil && about.IsDir() && !isRun(path)
}

func isRun(dir string) bool {
	for _, name := range []string{configFile, logFile, "checkpoints"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return true
		}
	}
	return false
}

// discover adds the runs in a folder that are not followed yet.
func (w *Watcher) discover(ctx context.Context, parent string) {
	entries, _ := os.ReadDir(parent) // one that was removed has no runs
	for _, e := range entries {
		dir := filepath.Join(parent, e.Name())
		if e.IsDir() && isRun(dir) && !w.follows(dir) {
			_ = w.add(ctx, dir) // one that was removed meanwhile
		}
	}
}

func (w *Watcher) keepDiscovering(ctx context.Context, parent string) {
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-time.After(5 * w.options.Interval):
			w.discover(ctx, parent)
		}
	}
}

func (w *Watcher) follows(path string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.ContainsFunc(w.runs, func(r *run) bool { return r.name == path })
}

func openSource(ctx context.Context, path string, o storage.Options) (source, error) {
	if !storage.IsURL(path) {
		f, err := openFolder(path)
		if errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("there is no run folder %s", path)
		}
		if err != nil {
			return nil, fmt.Errorf("cannot watch %s: %w", path, err)
		}
		return f, nil
	}
	at, err := storage.Parse(path)
	if err != nil {
		return nil, err
	}
	f, err := storage.Open(ctx, at, o)
	if err != nil {
		return nil, err
	}
	return remote{f}, nil
}

// Close ends the following and frees the connections.
func (w *Watcher) Close() error {
	w.stop()
	w.done.Wait()
	var err error
	for _, r := range w.runs {
		err = errors.Join(err, r.source.close())
	}
	return err
}

// follow reads a run's new files until the context is done.
func (w *Watcher) follow(ctx context.Context, r *run) {
	interval := w.options.Interval
	if _, ok := r.source.(remote); ok {
		interval = w.options.RemoteInterval
	}
	for ctx.Err() == nil {
		w.refresh(ctx, r)
		select {
		case <-ctx.Done():
		case <-time.After(interval):
		}
	}
}

// refresh reads what is new of one run.
func (w *Watcher) refresh(ctx context.Context, r *run) {
	w.slots <- struct{}{}
	defer func() { <-w.slots }()
	err := w.refreshFiles(ctx, r)
	if err == nil {
		err = w.refreshLog(ctx, r)
	}
	if ctx.Err() == nil {
		w.update(r, func() { r.seen, r.err = true, err })
	}
}

func (w *Watcher) refreshFiles(ctx context.Context, r *run) error {
	f, err := r.readFiles(ctx)
	if err != nil {
		return err
	}
	var config map[string]string
	if f.config.name != "" {
		text, err := r.source.read(ctx, configFile, 0, maxConfig)
		if err != nil {
			return err
		}
		if config, err = settings(text); err != nil {
			return err
		}
	}
	w.update(r, func() {
		r.setConfig(config)
		r.grids, r.checkpoint, r.saved, r.logModified = f.grids, f.checkpoint.name, f.checkpoint.modified, f.log.modified
		if f.log.size < r.history.offset { // a resumed run dropped rows
			r.history = newHistory()
		}
	})
	return nil
}

// refreshLog reads the new rows, and of a rewritten log all, once. Only the adding of a chunk's rows holds
// the lock.
func (w *Watcher) refreshLog(ctx context.Context, r *run) error {
	for again := false; ; {
		text, err := r.source.read(ctx, logFile, r.history.offset, chunk)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		before, rewritten := r.history.offset, false
		w.update(r, func() {
			if rewritten = errors.Is(r.history.read(text, again), errRewritten); rewritten {
				r.history, again = newHistory(), true
			}
		})
		switch {
		case rewritten:
		case r.history.offset == before && len(text) == chunk:
			return fmt.Errorf("%s has a line of more than %d bytes", logFile, chunk)
		case r.history.offset == before || len(text) < chunk:
			return nil
		}
	}
}

func (r *run) setConfig(config map[string]string) {
	r.config = config
	r.batchSize = float64(integer(config["train.batch_size"]))
	if r.total = integer(config["train.steps"]); r.total == 0 {
		r.total = integer(config["train.lr_anneal_steps"])
	}
}

// update changes a run under the lock, and wakes those that wait if something they can see changed.
func (w *Watcher) update(r *run, change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before := r.visible()
	change()
	if after := r.visible(); !before.equal(after) {
		w.version++
		close(w.changed)
		w.changed = make(chan struct{})
	}
}

// visible is what a reader of the page could notice, apart from the passing of time.
type visible struct {
	offset     int64
	rows       int
	checkpoint string
	grids      []Grid
	config     map[string]string
	seen       bool
	err        string
}

func (r *run) visible() visible {
	v := visible{offset: r.history.offset, rows: r.history.rows, checkpoint: r.checkpoint, grids: r.grids, config: r.config, seen: r.seen}
	if r.err != nil {
		v.err = r.err.Error()
	}
	return v
}

func (v visible) equal(o visible) bool {
	same := v.offset == o.offset && v.rows == o.rows && v.checkpoint == o.checkpoint && v.seen == o.seen && v.err == o.err
	return same && slices.Equal(v.grids, o.grids) && maps.Equal(v.config, o.config)
}

// wait returns the version of the runs once it is above the given one, or when the context is done.
func (w *Watcher) wait(ctx context.Context, version int) int {
	for {
		w.mu.Lock()
		now, changed := w.version, w.changed
		w.mu.Unlock()
		if now > version {
			return now
		}
		select {
		case <-ctx.Done():
			return now
		case <-changed:
		}
	}
}
