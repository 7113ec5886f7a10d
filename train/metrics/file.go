package metrics

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/google/renameio/v2"
)

// file is an append-only file of records. A record that cannot be written in full is
// truncated again.
type file struct {
	path string
	f    *os.File
}

func openFile(path string, flag int) (*file, error) {
	f, err := os.OpenFile(path, flag|os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o666)
	if err != nil {
		return nil, err
	}
	return &file{path, f}, nil
}

// reopen replaces the file's text if it has changed, and opens it for appending.
func reopen(path string, before, after []byte) (*file, error) {
	if !bytes.Equal(before, after) {
		if err := replace(path, after); err != nil {
			return nil, err
		}
	}
	return openFile(path, 0)
}

// replace replaces a file's text atomically: after a crash it holds either text in full.
func replace(path string, text []byte) error {
	if err := renameio.WriteFile(path, text, 0o666); err != nil {
		return fmt.Errorf("cannot rewrite %s: %w", path, err)
	}
	return nil
}

func readIfExists(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return text, err
}

// append writes to the operating system at once, so that a crash of the process loses no
// record.
func (f *file) append(record []byte) error {
	n, err := f.f.Write(record)
	if err == nil || n == 0 {
		return err
	}
	// Half a record, on a full disk for example, would corrupt the next one.
	end, seekErr := f.f.Seek(0, io.SeekEnd)
	if seekErr != nil {
		return errors.Join(err, seekErr)
	}
	return errors.Join(err, f.f.Truncate(end-int64(n)))
}

func (f *file) close() error {
	return errors.Join(f.f.Sync(), f.f.Close())
}

// eachLine calls parse with every line of a text file that is not blank. It ignores the text
// after the last newline, which is a line being written now or when a process died, and a
// last line that parse rejects if it accepted one before. Any other line that parse rejects
// is an error.
func eachLine(path string, text []byte, parse func(line []byte) error) error {
	text = bytes.TrimRight(text[:bytes.LastIndexByte(text, '\n')+1], "\r\n")
	last := bytes.Count(text, []byte("\n")) + 1
	number, accepted := 0, 0
	for line := range bytes.SplitSeq(text, []byte("\n")) {
		number++
		if line = bytes.TrimSuffix(line, []byte("\r")); len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		if err := parse(line); err == nil {
			accepted++
		} else if number < last || accepted == 0 {
			return fmt.Errorf("%s, line %d: %w: correct that line, or move the file elsewhere", path, number, err)
		}
	}
	return nil
}
