package metrics

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// golden are the rows of testdata/log.jsonl and testdata/progress.csv.
var golden = []Row{
	{10, []Value{{"samples", 80}, {"loss", 0.5}, {"mse", 0.25}, {"loss_q0", 0.125}, {"grad_norm", 1e30}, {"lr", 1e-4}}},
	{20, []Value{{"samples", 160}, {"loss", math.NaN()}, {"vb", math.Inf(1)}, {"grad_norm", math.Inf(-1)}, {"lr", 1e-4}, {"mse_q0", 1}}},
	{20, []Value{{"fid", 12.25}, {`a, "b"`, math.Copysign(0, -1)}}},
	{4000000, []Value{{"samples", 32000000}, {"loss", 1e-7}}},
}

func open(t *testing.T, dir string, step int) *Writer {
	t.Helper()
	w, err := Open(dir, step)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// writeRows is one process of a run: it resumes at a step and writes rows.
func writeRows(t *testing.T, dir string, step int, rows ...Row) {
	t.Helper()
	w := open(t, dir, step)
	for _, r := range rows {
		if err := w.Write(r.Step, append([]Value{{"step", float64(r.Step)}}, r.Values...)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func write(t *testing.T, text string, path ...string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(path...), []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
}

// sameRows treats NaN as equal to NaN and 0 as different from -0.
func sameRows(a, b []Row) bool {
	return slices.EqualFunc(a, b, func(a, b Row) bool {
		return a.Step == b.Step && slices.EqualFunc(a.Values, b.Values, func(a, b Value) bool {
			same := math.Float64bits(a.Value) == math.Float64bits(b.Value) || a.Value != a.Value && b.Value != b.Value
			return a.Name == b.Name && same
		})
	})
}

func TestGoldenFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "runs", "new")
	writeRows(t, dir, 0, golden...)
	for _, name := range []string{logFile, tableFile} {
		if got, want := read(t, dir, name), read(t, "testdata", name); got != want {
			t.Errorf("%s is\n%swant\n%s", name, got, want)
		}
	}
	rows, err := Read("testdata")
	if err != nil || !sameRows(rows, golden) {
		t.Errorf("read back %v, %v", rows, err)
	}
}

func TestGet(t *testing.T) {
	if v, ok := golden[0].Get("loss"); v != 0.5 || !ok {
		t.Error(v, ok)
	}
	if v, ok := golden[0].Get("vb"); v != 0 || ok {
		t.Error(v, ok)
	}
}

// A new run without rows has the table's header.
func TestEmptyRun(t *testing.T) {
	dir := t.TempDir()
	writeRows(t, dir, 0)
	if got, want := read(t, dir, tableFile), strings.Join(referenceColumns, ",")+"\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if rows, err := Read(dir); err != nil || len(rows) != 0 {
		t.Errorf("got %v, %v", rows, err)
	}
}

func TestRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var rows []Row
	for step := range 200 {
		row := Row{Step: step * 7}
		for i := range r.IntN(6) {
			// Every exponent, subnormal numbers, infinities and NaN included.
			row.Values = append(row.Values, Value{fmt.Sprintf("q%d", i), math.Float64frombits(r.Uint64())})
		}
		rows = append(rows, row)
	}
	rows = append(rows, Row{Step: maxStep, Values: []Value{{"\u2028<&'\"\\,", math.SmallestNonzeroFloat64}}})
	dir := t.TempDir()
	writeRows(t, dir, 0, rows...)
	if got, err := Read(dir); err != nil || !sameRows(got, rows) {
		t.Errorf("read back %v, %v", got, err)
	}
}

// numbered returns n rows, of which later ones have more columns.
func numbered(n int) (rows []Row) {
	for step := 1; step <= n; step++ {
		row := Row{step, []Value{{"samples", float64(8 * step)}, {"loss", 1 / float64(step)}}}
		if step > 4 {
			row.Values = append(row.Values, Value{"a,b", math.NaN()})
		}
		if step > 7 {
			row.Values = append(row.Values, Value{"fid", float64(step)})
		}
		rows = append(rows, row)
	}
	return rows
}

// A resumed run's files equal those of an uninterrupted run, byte for byte, for any number of
// rows that it wrote after its checkpoint.
func TestResume(t *testing.T) {
	rows := numbered(10)
	whole := t.TempDir()
	writeRows(t, whole, 0, rows...)
	for _, step := range []int{0, 1, 3, 5, 9, 10} {
		for _, stopped := range []int{step, min(step+2, len(rows)), len(rows)} {
			dir := t.TempDir()
			writeRows(t, dir, 0, rows[:stopped]...)
			writeRows(t, dir, step, rows[step:]...)
			for _, name := range []string{logFile, tableFile} {
				if got, want := read(t, dir, name), read(t, whole, name); got != want {
					t.Errorf("stopped at %d, resumed at %d: %s is\n%swant\n%s", stopped, step, name, got, want)
				}
			}
		}
	}
}

// A process may be killed at any byte that it writes: complete lines are kept, and with the
// other rows written again the text is that of an uninterrupted run.
func TestTruncatedFiles(t *testing.T) {
	rows := numbered(9)
	whole := t.TempDir()
	writeRows(t, whole, 0, rows...)
	log, table := read(t, whole, logFile), read(t, whole, tableFile)
	for cut := range len(log) + 1 {
		n := strings.Count(log[:cut], "\n")
		text, err := logUpTo(maxStep, logFile, []byte(log[:cut]))
		for _, r := range rows[n:] {
			text = append(text, r.json()...)
		}
		if err != nil || string(text) != log {
			t.Errorf("cut at byte %d: %v, and\n%s", cut, err, text)
		}
		if got, err := parseLog(logFile, []byte(log[:cut])); err != nil || !sameRows(got, rows[:n]) {
			t.Errorf("cut at byte %d: read %v, %v", cut, got, err)
		}
	}
	for cut := range len(table) + 1 {
		columns, text, err := tableUpTo(maxStep, tableFile, []byte(table[:cut]))
		n := strings.Count(table[:cut], "\n")
		if n == 0 {
			if err != nil || !slices.Equal(columns, referenceColumns) || !bytes.Equal(text, csvLine(referenceColumns)) {
				t.Errorf("cut at byte %d, in the header: %v, %q and\n%s", cut, err, columns, text)
			}
			continue
		}
		for _, r := range rows[n-1:] {
			text = append(text, r.csv(columns)...)
		}
		if err != nil || string(text) != table {
			t.Errorf("cut at byte %d: %v, and\n%s", cut, err, text)
		}
	}
}

// The same through files, also with other text than half a row at the end.
func TestIncompleteLastLine(t *testing.T) {
	for _, torn := range []string{"\x00\x00\x00\x00", `{"step":2`, "{\"step\":2\n", "\x00\x00\n", `{"step":1}`, "{\"loss\":3}\r\n\r\n", "  \n"} {
		dir := t.TempDir()
		write(t, "{\"step\":1}\n\n"+torn, dir, logFile)
		write(t, "step,loss\n1,2\n"+torn, dir, tableFile)
		if rows, err := Read(dir); err != nil || len(rows) != 1 {
			t.Errorf("%q: read %v, %v", torn, rows, err)
		}
		writeRows(t, dir, 1, Row{2, []Value{{"loss", 3}}})
		if got := read(t, dir, logFile); got != "{\"step\":1}\n{\"step\":2,\"loss\":3}\n" {
			t.Errorf("%q: log %q", torn, got)
		}
		if got := read(t, dir, tableFile); got != "step,loss\n1,2\n2,3\n" {
			t.Errorf("%q: table %q", torn, got)
		}
	}
}

// A table with other columns, from the reference or a spreadsheet, is continued as it is: only
// rows after the checkpoint are dropped, and columns added.
func TestForeignTable(t *testing.T) {
	dir := t.TempDir()
	write(t, "grad_norm,loss,step,\"my, note\"\r\n0.10,1e0,1,\"so, so\"\r\n0.2,2,2,\r\n0.3,3,3,\r\n", dir, tableFile)
	writeRows(t, dir, 2, Row{3, []Value{{"loss", 4}, {"vb", 5}}})
	want := "grad_norm,loss,step,\"my, note\",vb\n0.10,1e0,1,\"so, so\",\n0.2,2,2,,\n,4,3,,5\n"
	if got := read(t, dir, tableFile); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestRefusedFiles(t *testing.T) {
	for _, c := range []struct{ file, text, want string }{
		{logFile, "hello\n", "line 1: not a JSON object"},
		{logFile, "[1]\n{\"step\":1}\n", "line 1: not a JSON object"},
		{logFile, "{\"step\":1}\n\n{\"step\":2,\"lo\n{\"step\":3}\n", "line 3: "},
		{logFile, "{\"loss\":1}\n", `line 1: the step ""`},
		{logFile, "{\"step\":1.5}\n", `line 1: the step "1.5"`},
		{logFile, "{\"step\":-1}\n", "line 1: a step must be in 0..9007199254740992"},
		{logFile, "{\"step\":9007199254740993}\n", "line 1: a step must be in"},
		{logFile, "{\"step\":99999999999999999999}\n", "line 1: the step"},
		{logFile, "{\"step\":\"NaN\"}\n", "line 1: the step"},
		{logFile, "{\"step\":1,\"step\":1}\n", "line 1: step occurs twice"},
		{logFile, "{\"step\":1,\"loss\":1,\"loss\":1}\n", "line 1: loss occurs twice"},
		{logFile, "{\"step\":1,\"\":1}\n", "line 1: a value has no name"},
		{logFile, "{\"step\":1,\"loss\":null}\n", `line 1: the value of "loss" is not a number`},
		{logFile, "{\"step\":1,\"loss\":\"1\"}\n", `line 1: the value of "loss" is not a number`},
		{logFile, "{\"step\":1,\"loss\":[1]}\n", `line 1: the value of "loss" is not a number`},
		{logFile, "{\"step\":1,\"loss\":1e999}\n", "line 1: "},
		{logFile, "{\"step\":1} {}\n", "line 1: something follows"},
		{logFile, "{\"step\":1}}\n", "line 1: something follows"},
		{tableFile, "hello\n", `line 1: no column step among ["hello"]`},
		{tableFile, "step,\"lo\n", "line 1: "},
		{tableFile, "step,loss\n1\n2,3\n", "line 2: 1 cells under 2 columns"},
		{tableFile, "step,loss\n1,2,3\n2,3\n", "line 2: 3 cells under 2 columns"},
		{tableFile, "step,loss\none,2\n2,3\n", `line 2: the step "one" is not a whole number`},
		{tableFile, "step,loss\n1,\"2\n2,3\n", "line 2: "},
	} {
		dir := t.TempDir()
		before := map[string]string{
			logFile:   "{\"step\":1}\n{\"step\":5}\n{\"st",
			tableFile: "step\n1\n5\n6",
		}
		before[c.file] = c.text
		for name, text := range before {
			write(t, text, dir, name)
		}
		_, err := Open(dir, 3)
		if want := filepath.Join(dir, c.file) + ", " + c.want; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", c.text, err, want)
		}
		if after := files(t, dir); !maps.Equal(after, before) {
			t.Errorf("%q: the files have become %q", c.text, after)
		}
		if _, err := Read(dir); (err != nil) != (c.file == logFile) {
			t.Errorf("%q: Read returns %v", c.text, err)
		}
	}
}

// files returns the texts of the files in a folder, without TensorBoard's.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), "events.") {
			texts[e.Name()] = read(t, dir, e.Name())
		}
	}
	return texts
}

func TestRefusedRows(t *testing.T) {
	dir := t.TempDir()
	w := open(t, dir, 0)
	if err := w.Write(5, []Value{{"loss", 1}}); err != nil {
		t.Fatal(err)
	}
	before := files(t, dir)
	for _, c := range []struct {
		step int
		row  []Value
		want string
	}{
		{6, []Value{{"", 1}}, "a value has no name"},
		{6, []Value{{"loss", 1}, {"loss", 1}}, "loss occurs twice"},
		{6, []Value{{"lo\nss", 1}}, `the name "lo\nss" has a control character`},
		{6, []Value{{"\xff", 1}}, `the name "\xff" is not UTF-8`},
		{6, []Value{{"step", 7}}, "the row of step 6 holds a value step of 7"},
		{4, []Value{{"loss", 1}}, "step 4 cannot follow step 5"},
		{-1, nil, "a step must be in 0..9007199254740992, not -1"},
		{maxStep + 1, nil, "a step must be in"},
	} {
		err := w.Write(c.step, c.row)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), filepath.Join(dir, logFile)) {
			t.Errorf("%v: error %v, want %q", c.row, err, c.want)
		}
		if after := files(t, dir); !maps.Equal(after, before) {
			t.Errorf("%v: the files have become %q", c.row, after)
		}
	}
	if err := w.Write(5, []Value{{"fid", 1}}); err != nil {
		t.Errorf("a second row of a step: %v", err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

// Every error names its file.
func TestErrorsNameTheFile(t *testing.T) {
	for _, name := range []string{logFile, tableFile} {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, name), 0o777); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir, 0); err == nil || !strings.Contains(err.Error(), filepath.Join(dir, name)) {
			t.Errorf("%s is a folder: error %v", name, err)
		}
	}
	file := filepath.Join(t.TempDir(), "file")
	write(t, "", file)
	if _, err := Open(file, 0); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("the run folder is a file: error %v", err)
	}
	if _, err := Read(t.TempDir()); err == nil || !strings.Contains(err.Error(), logFile) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("nothing to read: error %v", err)
	}
}

func TestRefusedStep(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	if w, err := Open(dir, -1); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("got %v, error %v", w, err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the run folder was made: %v", err)
	}
}

func TestClosed(t *testing.T) {
	w := open(t, t.TempDir(), 0)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for _, f := range []*file{w.log, w.table.file, w.events.file} {
		if err := f.append([]byte("x")); !errors.Is(err, os.ErrClosed) || !strings.Contains(err.Error(), f.path) {
			t.Errorf("%s: error %v", f.path, err)
		}
	}
	for _, row := range [][]Value{{{"loss", 1}}, {{"new", 1}}} {
		if err := w.Write(1, row); !errors.Is(err, os.ErrClosed) {
			t.Errorf("Write returns %v", err)
		}
		if err := w.table.append(Row{1, row}); !errors.Is(err, os.ErrClosed) || !strings.Contains(err.Error(), tableFile) {
			t.Errorf("progress.csv returns %v", err)
		}
	}
	if err := w.Close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("the second Close returns %v", err)
	}
}

// A limit on the size of files simulates a full disk: the kernel writes a part of a record.
func TestFullDisk(t *testing.T) {
	f, err := openFile(filepath.Join(t.TempDir(), "full"), 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.append([]byte("whole\n")); err != nil {
		t.Fatal(err)
	}
	err = withFileLimit(t, 10, func() error { return f.append([]byte("too long\n")) })
	if !errors.Is(err, syscall.EFBIG) || !strings.Contains(err.Error(), f.path) {
		t.Errorf("error %v", err)
	}
	if got := read(t, f.path); got != "whole\n" {
		t.Errorf("%q is left", got)
	}
	if err := errors.Join(f.append([]byte("again\n")), f.close()); err != nil || read(t, f.path) != "whole\nagain\n" {
		t.Errorf("%q, %v", read(t, f.path), err)
	}
}

func withFileLimit(t *testing.T, bytes uint64, do func() error) error {
	t.Helper()
	signal.Ignore(syscall.SIGXFSZ)
	defer signal.Reset(syscall.SIGXFSZ)
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: bytes, Max: limit.Max}); err != nil {
		t.Fatal(err)
	}
	defer syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit)
	return do()
}

func FuzzLog(f *testing.F) {
	text, err := os.ReadFile("testdata/log.jsonl")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(20, text)
	f.Add(1, []byte("{\"step\":1,\"a\":-0.0}\r\n \n{\"step\":2,\"\\ud800\":1E3}\n{"))
	f.Fuzz(func(t *testing.T, step int, text []byte) {
		rows, err := parseLog("x", text)
		kept, keptErr := logUpTo(step, "x", text)
		if (err == nil) != (keptErr == nil) {
			t.Fatalf("Read returns %v, Open %v", err, keptErr)
		}
		if err != nil {
			return
		}
		rows = slices.DeleteFunc(rows, func(r Row) bool { return r.Step > step })
		again, err := parseLog("x", kept)
		if err != nil || !sameRows(again, rows) {
			t.Fatalf("kept %v, want %v (%v)", again, rows, err)
		}
		var written []byte
		for _, r := range rows {
			written = append(written, r.json()...)
		}
		if again, err = parseLog("x", written); err != nil || !sameRows(again, rows) {
			t.Fatalf("wrote %v and read %v (%v)", rows, again, err)
		}
	})
}

func FuzzTable(f *testing.F) {
	text, err := os.ReadFile("testdata/progress.csv")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(20, text)
	f.Add(1, []byte("a,\"b\"\"\",step\r\n\n,\" \",1\n,,2\n,"))
	f.Fuzz(func(t *testing.T, step int, text []byte) {
		columns, kept, err := tableUpTo(step, "x", text)
		if err != nil {
			return
		}
		again, same, err := tableUpTo(step, "x", kept)
		if err != nil || !reflect.DeepEqual(again, columns) || !bytes.Equal(same, kept) {
			t.Fatalf("kept %q %q, and of that %q %q (%v)", columns, kept, again, same, err)
		}
		next := append(kept, Row{Step: 3}.csv(columns)...)
		if _, same, err = tableUpTo(maxStep, "x", next); err != nil || !bytes.Equal(same, next) {
			t.Fatalf("the row appended to %q is lost: %q (%v)", kept, same, err)
		}
	})
}
