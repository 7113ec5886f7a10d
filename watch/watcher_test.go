package watch

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
}

func appendTo(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

const smallConfig = `{"train":{"batch_size":8,"steps":100,"lr":0.0001,"log_interval":10},"model":{"image_size":32}}`

// madeUpRun writes a run folder with rows 1 to n.
func madeUpRun(t *testing.T, n int) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "run")
	writeFile(t, filepath.Join(dir, "config.json"), smallConfig)
	var log strings.Builder
	for i := 1; i <= n; i++ {
		fmt.Fprintf(&log, `{"step":%d,"loss":%g,"images_per_second":40}`+"\n", i, 1/float64(i))
	}
	writeFile(t, filepath.Join(dir, "log.jsonl"), log.String())
	return dir
}

func watching(t *testing.T, paths ...string) *Watcher {
	t.Helper()
	w, err := New(paths, Options{Interval: 5 * time.Millisecond, RemoteInterval: 5 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// await polls until the statuses satisfy a condition.
func await(t *testing.T, w *Watcher, what string, ok func([]Status) bool) []Status {
	t.Helper()
	for range 2000 {
		if all, _ := w.Statuses(); ok(all) {
			return all
		}
		time.Sleep(5 * time.Millisecond)
	}
	all, _ := w.Statuses()
	t.Fatalf("%s: still %+v", what, all)
	return nil
}

func atStep(n int) func([]Status) bool {
	return func(all []Status) bool { return len(all) > 0 && all[0].Step == n }
}

// A watched run grows, saves, samples, and is rewritten by a resume; locally and at a URL.
func TestFollow(t *testing.T) {
	for _, scheme := range []string{"", "file://"} {
		t.Run("scheme "+scheme, func(t *testing.T) {
			dir := madeUpRun(t, 10)
			w := watching(t, scheme+dir)
			s := await(t, w, "the first rows", atStep(10))[0]
			if s.State != Training || s.Steps != 100 || s.Rate != 40 || s.ETA != 90*8/40. || s.Rows != 10 {
				t.Errorf("%+v", s)
			}
			appendTo(t, filepath.Join(dir, "log.jsonl"), `{"step":20,"loss":0.5}`+"\n"+`{"step":30,`)
			writeFile(t, filepath.Join(dir, "checkpoints/ckpt-000020.pt"), "")
			writeFile(t, filepath.Join(dir, "samples/step-000020.png"), "png 20")
			writeFile(t, filepath.Join(dir, "samples/step-000005/grid.png"), "png 5")
			writeFile(t, filepath.Join(dir, "samples/step-000005/samples.npz"), "")
			s = await(t, w, "a step and two grids", func(all []Status) bool { return all[0].Step == 20 && len(all[0].Grids) == 2 })[0]
			if s.Checkpoint != "checkpoints/ckpt-000020.pt" || s.Grids[0] != (Grid{5, "samples/step-000005/grid.png"}) || s.Grids[1].Step != 20 {
				t.Errorf("%+v", s)
			}
			writeFile(t, filepath.Join(dir, "log.jsonl"), `{"step":3,"loss":0.7}`+"\n")
			await(t, w, "the log of a resumed run", atStep(3))
			curves, ok := w.Curves("0", []string{"loss", "no such"}, 10)
			if c := curves["loss"]; !ok || len(curves) != 1 || len(c.Steps) != 1 || *c.Values[0] != 0.7 {
				t.Errorf("%+v", curves)
			}
			appendTo(t, filepath.Join(dir, "log.jsonl"), `{"step":100,"loss":0.1}`+"\n")
			await(t, w, "the end", func(all []Status) bool { return all[0].State == Finished })
		})
	}
}

// A log whose steps go back, such as two logs in one file, is read to its end, however long it is.
func TestLogThatGoesBack(t *testing.T) {
	for name, filler := range map[string]string{"short": "", "several chunks": strings.Repeat(" ", chunk/2)} {
		t.Run(name, func(t *testing.T) {
			dir := madeUpRun(t, 3)
			for _, step := range []int{4, 2, 3, 5} {
				appendTo(t, filepath.Join(dir, "log.jsonl"), fmt.Sprintf(`{"step":%d,"loss":1%s}`+"\n", step, filler))
			}
			s := await(t, watching(t, dir), "the last row", atStep(5))[0]
			if want := "2 lines of log.jsonl"; s.Rows != 5 || !strings.Contains(strings.Join(s.Warnings, "\n"), want) {
				t.Errorf("%d rows, warnings %q, want %q", s.Rows, s.Warnings, want)
			}
		})
	}
}

// The page hears of a setting that a resumed run has changed before the run logs a row.
func TestChangedSetting(t *testing.T) {
	dir := madeUpRun(t, 3)
	w := watching(t, dir)
	await(t, w, "a run that has been read", func(all []Status) bool { return all[0].State == Training && all[0].Step == 3 })
	_, version := w.Statuses()
	changed := filepath.Join(t.TempDir(), "config.json") // as train writes it: atomically
	writeFile(t, changed, strings.Replace(smallConfig, `"steps":100`, `"steps":200`, 1))
	if err := os.Rename(changed, filepath.Join(dir, "config.json")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if now := w.wait(ctx, version); now == version {
		t.Error("no new version")
	}
	if all, _ := w.Statuses(); all[0].Steps != 200 {
		t.Errorf("%d steps", all[0].Steps)
	}
}

func TestStates(t *testing.T) {
	dir := madeUpRun(t, 10)
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(filepath.Join(dir, "log.jsonl"), old, old); err != nil {
		t.Fatal(err)
	}
	w := watching(t, dir)
	await(t, w, "a run that logs nothing any more", func(all []Status) bool { return all[0].State == Stopped })
	empty := watching(t, t.TempDir())
	if all, _ := empty.Statuses(); len(all) != 0 {
		t.Errorf("an empty folder holds %+v", all)
	}
	_, err := New([]string{filepath.Join(t.TempDir(), "nowhere")}, Options{})
	if err == nil || !strings.Contains(err.Error(), "there is no run folder") {
		t.Errorf("a missing folder: %v", err)
	}
}

// A folder of runs stands for the runs in it, including those that begin later.
func TestDiscover(t *testing.T) {
	parent := t.TempDir()
	writeFile(t, filepath.Join(parent, "001-a", "config.json"), smallConfig)
	writeFile(t, filepath.Join(parent, "no-run", "notes.txt"), "")
	w := watching(t, parent)
	await(t, w, "one run", func(all []Status) bool { return len(all) == 1 && all[0].State != Reading })
	writeFile(t, filepath.Join(parent, "002-b", "config.json"), strings.Replace(smallConfig, "0.0001", "0.0002", 1))
	all := await(t, w, "another run", func(all []Status) bool { return len(all) == 2 && len(all[1].Differences) > 0 })
	if len(all[0].Differences) != 1 || all[0].Differences["train.lr"] != "0.0001" || all[1].Differences["train.lr"] != "0.0002" {
		t.Errorf("%v, %v", all[0].Differences, all[1].Differences)
	}
}

func TestWarnings(t *testing.T) {
	dir := madeUpRun(t, 1)
	appendTo(t, filepath.Join(dir, "log.jsonl"), `{"step":2,"loss":"NaN","skipped_steps":3,"data_wait":0.5}`+"\nnonsense\n")
	w := watching(t, dir)
	s := await(t, w, "warnings", func(all []Status) bool { return len(all[0].Warnings) >= 4 })[0]
	for _, want := range []string{"3 steps were skipped", "not finite in 1 rows", "50 % of the time", "1 lines of log.jsonl"} {
		if !strings.Contains(strings.Join(s.Warnings, "\n"), want) {
			t.Errorf("no %q in %q", want, s.Warnings)
		}
	}
	writeFile(t, filepath.Join(dir, "config.json"), "{")
	await(t, w, "a damaged configuration", func(all []Status) bool { return strings.Contains(strings.Join(all[0].Warnings, " "), "config.json") })
}

// BenchmarkRefresh measures a refresh of 50 runs of 100,000 rows that each grow by a row: reading the
// files, and all that the page asks for. It reports the memory that the watcher holds.
func BenchmarkRefresh(b *testing.B) {
	const runs, rows = 50, 100_000
	var paths []string
	row := func(i int) string {
		return fmt.Sprintf(`{"step":%d,"samples":%d,"loss":0.05,"mse":0.04,"vb":0.01,"loss_q0":0.1,"loss_q1":0.1,"loss_q2":0.1,"loss_q3":0.1,"mse_q0":0.1,"mse_q1":0.1,"mse_q2":0.1,"mse_q3":0.1,"grad_norm":0.2,"lr":0.0001,"images_per_second":100,"data_wait":0.001}`+"\n", i, i)
	}
	var log strings.Builder
	for i := range rows {
		log.WriteString(row(i))
	}
	for i := range runs {
		dir := filepath.Join(b.TempDir(), fmt.Sprint(i))
		os.MkdirAll(dir, 0o777)
		os.WriteFile(filepath.Join(dir, "config.json"), []byte(smallConfig), 0o666)
		os.WriteFile(filepath.Join(dir, "log.jsonl"), []byte(log.String()), 0o666)
		paths = append(paths, dir)
	}
	w, err := New(paths, Options{Interval: time.Hour})
	if err != nil {
		b.Fatal(err)
	}
	defer w.Close()
	for {
		all, _ := w.Statuses()
		done := 0
		for _, s := range all {
			if s.Rows == rows {
				done++
			}
		}
		if done == runs {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	next := rows
	for b.Loop() {
		b.StopTimer()
		for _, p := range paths {
			f, _ := os.OpenFile(filepath.Join(p, "log.jsonl"), os.O_APPEND|os.O_WRONLY, 0)
			f.WriteString(row(next))
			f.Close()
		}
		next++
		b.StartTimer()
		for _, r := range w.runs {
			w.refresh(b.Context(), r)
		}
		all, _ := w.Statuses()
		for _, s := range all {
			w.Curves(s.ID, s.Metrics, 200)
		}
	}
	log.Reset()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	b.ReportMetric(float64(m.HeapAlloc)/(1<<20), "MiB-held")
	b.ReportMetric(float64(m.Sys)/(1<<20), "MiB-from-OS")
}
