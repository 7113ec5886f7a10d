package terminal

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

// Screen is standard error: log lines, and on a terminal a progress bar below them.
type Screen struct {
	mu       sync.Mutex
	out      io.Writer
	terminal bool                     // it can move the cursor
	colours  bool                     // it shows colours
	columns  func() int               // current width of the terminal; 0: unknown
	bar      *progressbar.ProgressBar // nil: none is shown
	shown    time.Time                // time of the last update of the bar
	due      occasion                 // of the progress lines without a bar
}

// NewScreen shows a bar and colours on a terminal, unless TERM is dumb. NO_COLOR (see
// no-color.org) disables only colours.
func NewScreen(out io.Writer) *Screen {
	f, ok := out.(*os.File)
	s := &Screen{out: out, terminal: ok && term.IsTerminal(int(f.Fd()))}
	s.columns = func() int { return terminalColumns(f) }
	s.applyEnvironment(os.Getenv)
	return s
}

// applyEnvironment disables what TERM and NO_COLOR rule out.
func (s *Screen) applyEnvironment(env func(name string) string) {
	s.terminal = s.terminal && env("TERM") != "dumb"
	s.colours = s.terminal && env("NO_COLOR") == ""
}

// terminalColumns returns the current width of a terminal; 0: unknown.
func terminalColumns(f *os.File) int {
	columns, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return columns
}

// Terminal reports whether somebody may be watching: the output is a terminal.
func (s *Screen) Terminal() bool { return s.terminal }

// Write writes log lines above the bar.
func (s *Screen) Write(p []byte) (int, error) {
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

// Sync implements zapcore.WriteSyncer; there is nothing to flush.
func (s *Screen) Sync() error { return nil }

// Show moves the bar of a job of n steps (-1: unknown) to `at`, at most ten times a
// second.
func (s *Screen) Show(at, n int, what string) {
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
	s.bar.Describe(Printable(what))
	s.bar.Set(at)
}

// Done removes the bar. The next job has its own.
func (s *Screen) Done() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.due = occasion{}
	if s.bar != nil {
		s.bar.Clear()
		s.bar = nil
	}
}

// LineDue reports whether a job may log a progress line now: without a terminal, one per
// interval.
func (s *Screen) LineDue() bool { return !s.terminal && s.due.strikes() }

// DelayLine delays the first progress line of a job by an interval.
func (s *Screen) DelayLine() { s.due.strikes() }

// Logger returns a logger that writes to the screen, as text or as JSON.
func (s *Screen) Logger(asJSON bool) *zap.Logger {
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

// stepCore passes train's metric lines at intervals, and none where a bar shows them. The
// run folder has all.
type stepCore struct {
	zapcore.Core
	muted bool
	due   occasion
}

// stepMessage is the message of train's metric lines.
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

// occasion limits a log line to one per ten seconds.
type occasion struct{ last time.Time }

// strikes reports whether the line may be written now.
func (o *occasion) strikes() bool {
	if !o.last.IsZero() && time.Since(o.last) < 10*time.Second {
		return false
	}
	o.last = time.Now()
	return true
}
