package main

import (
	"io"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/term"
)

// screen is standard error: log lines, and on a terminal a progress bar beneath
// them.
type screen struct {
	mu       sync.Mutex
	out      io.Writer
	terminal bool                     // that moves a cursor
	colours  bool                     // as well
	columns  func() int               // the terminal's width now; 0: not known
	bar      *progressbar.ProgressBar // nil: none is shown
	shown    time.Time                // when the bar was drawn
	due      occasion                 // of the lines that stand for the bar where there is none
}

// newScreen has a bar and colours on a terminal, unless TERM is dumb; NO_COLOR (see
// no-color.org) leaves the bar.
func newScreen(out io.Writer) *screen {
	f, ok := out.(*os.File)
	s := &screen{out: out, terminal: ok && term.IsTerminal(int(f.Fd()))}
	s.columns = func() int { return terminalColumns(f) }
	s.obey(os.Getenv)
	return s
}

// obey takes from a terminal what the environment says that it lacks.
func (s *screen) obey(env func(name string) string) {
	s.terminal = s.terminal && env("TERM") != "dumb"
	s.colours = s.terminal && env("NO_COLOR") == ""
}

// terminalColumns returns the width of the terminal that a file is, as it is now: its user
// may resize it; 0: not known.
func terminalColumns(f *os.File) int {
	columns, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return columns
}

// Write writes log lines; the bar makes room for them.
func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bar == nil {
		return s.out.Write(p)
	}
	s.bar.Clear()
	n, err := s.out.Write(p)
	s.bar.RenderBlank()
	return n, err
}

// Sync is there for zap; there is nothing to flush.
func (s *screen) Sync() error { return nil }

// show draws the bar of a job of n steps (-1: nobody knows) and moves it to
// `at`, though not more often than an eye can follow.
func (s *screen) show(at, n int, what string) {
	if !s.terminal || time.Since(s.shown) < 100*time.Millisecond && at != n {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bar == nil {
		s.bar = progressbar.NewOptions(n,
			progressbar.OptionSetWriter(lineCutter{s.out, s.columns}),
			progressbar.OptionSetWidth(16),
			progressbar.OptionSetPredictTime(true),
			progressbar.OptionClearOnFinish(),
			progressbar.OptionUseANSICodes(true),
		)
	}
	s.shown = time.Now()
	s.bar.Describe(printable(what))
	s.bar.Set(at)
}

// done takes the bar away: the next job has one of its own.
func (s *screen) done() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.due = occasion{}
	if s.bar != nil {
		s.bar.Clear()
		s.bar = nil
	}
}

// logger returns a logger onto the screen: lines for people, or JSON.
func (s *screen) logger(asJSON bool) *zap.Logger {
	config := zap.NewProductionEncoderConfig()
	config.EncodeTime = zapcore.ISO8601TimeEncoder
	config.ConsoleSeparator = "  "
	var encoder zapcore.Encoder
	switch {
	case asJSON:
		encoder = zapcore.NewJSONEncoder(config)
	case s.terminal:
		config.EncodeTime = zapcore.TimeEncoderOfLayout(time.TimeOnly)
		config.EncodeLevel = zapcore.CapitalLevelEncoder
		if s.colours {
			config.EncodeLevel = zapcore.CapitalColorLevelEncoder
		}
		encoder = printableEncoder{zapcore.NewConsoleEncoder(config)}
	default:
		config.EncodeLevel = zapcore.CapitalLevelEncoder
		encoder = printableEncoder{zapcore.NewConsoleEncoder(config)}
	}
	core := zapcore.NewCore(encoder, s, zapcore.InfoLevel)
	return zap.New(&stepCore{Core: core, muted: s.terminal})
}

// stepCore lets through one of train's lines of metrics now and then, and none
// where a bar shows them; all of them are in the run folder.
type stepCore struct {
	zapcore.Core
	muted bool
	due   occasion
}

// stepMessage is the message of train's lines of metrics.
const stepMessage = "step"

// Check decides whether an entry is logged.
func (c *stepCore) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if e.Message != stepMessage {
		return c.Core.Check(e, ce)
	}
	if c.muted || !c.due.strikes() {
		return ce
	}
	return c.Core.Check(e, ce)
}

// occasion is a clock that strikes at once, and then every ten seconds.
type occasion struct{ last time.Time }

func (o *occasion) strikes() bool {
	if !o.last.IsZero() && time.Since(o.last) < 10*time.Second {
		return false
	}
	o.last = time.Now()
	return true
}
