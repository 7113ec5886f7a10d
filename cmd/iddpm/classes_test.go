package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"iddpm/checkpoint"
)

// classFolder writes an image of each of these paths, which have slashes.
func classFolder(t *testing.T, paths ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i, path := range paths {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		writeTo(t, path, pngOf(t, 8, i))
	}
	return dir
}

// Random classes are those with training images. Others can be named, with a warning.
func TestSampleAmongTrainedClasses(t *testing.T) {
	t.Chdir(t.TempDir())
	photos := classFolder(t, "0.png", "1.png", "2.png", "3.png", "4.png", "5.png")
	for _, test := range []struct {
		name, table string
		rows        int
		trained     []int64
		names       string
	}{
		{"from-one", "0.png,1\n1.png,2\n2.png,3\n3.png,1\n4.png,2\n5.png,3\n", 4, []int64{1, 2, 3}, "0 1 2 3"},
		{"sparse", "0.png,100001\n1.png,100002\n2.png,100003\n3.png,100001\n4.png,100002\n5.png,100003\n", 3, []int64{0, 1, 2}, "100001 100002 100003"},
	} {
		writeTo(t, test.name+".csv", []byte(test.table))
		got := iddpm(t, trainTiny(test.name, "--data-dir", photos, "--class-cond", "--labels", test.name+".csv", "--steps", "1")...)
		if got.status != exitDone {
			t.Fatal(got.stderr)
		}
		for _, said := range []string{"check the classes", "hint", "labels chooses where classes come from"} {
			if !strings.Contains(got.stderr, said) {
				t.Errorf("%s: no %q in the log: %s", test.name, said, got.stderr)
			}
		}
		c, err := checkpoint.Load(test.name)
		if err != nil || c.Config.Model.NumClasses != test.rows || strings.Join(c.ClassNames, " ") != test.names {
			t.Fatalf("%s: %d classes %v, %v", test.name, c.Config.Model.NumClasses, c.ClassNames, err)
		}
		sampled := slices.Sorted(slices.Values(sample(t, test.name, "--num-samples", "40", "--batch-size", "40", "--timestep-respacing", "2").labels))
		if sampled = slices.Compact(sampled); !slices.Equal(sampled, test.trained) {
			t.Errorf("%s: sampled the classes %v", test.name, sampled)
		}
	}
	few := []string{"--num-samples", "1", "--timestep-respacing", "2", "--device", "cpu"}
	got := iddpm(t, append([]string{"sample", "from-one", "--class", "0"}, few...)...)
	if got.status != exitDone || !strings.Contains(got.stderr, "this class has no training images") {
		t.Errorf("an untrained class: %d, %s", got.status, got.stderr)
	}
	got = iddpm(t, append([]string{"sample", "sparse", "--class", "0"}, few...)...)
	if got.status != exitUsage || !strings.Contains(got.stderr, "network are 100001, 100002, 100003") {
		t.Errorf("a number that is no name: %d, %s", got.status, got.stderr)
	}
	if got = iddpm(t, append([]string{"sample", "sparse", "--class", "100002"}, few...)...); got.status != exitDone {
		t.Errorf("by name: %d, %s", got.status, got.stderr)
	}
}

// data info prints the source of the classes, or why there are none, and the images left out.
func TestDataInfoOnClasses(t *testing.T) {
	for _, test := range []struct {
		paths []string
		json  string // a part of it
		text  []string
	}{
		{
			[]string{"cat/IMG_0.png", "cat/IMG_1.png", "dog/IMG_0.png", "dog/IMG_1.png", "@eaDir/x.png", ".cache/y.png", "z.heic"},
			`"class_rule":"folders","class_warnings":["4 of 4 file names have an underscore; their prefixes would give other classes: IMG"],"left_out":[{"reason":"hidden files and folders","images":1,"first":".cache/y.png"}`,
			[]string{"classes by                folders", "4 of 4 file names", "--labels chooses", "left out                  1: hidden", "1: HEIC is not supported"},
		},
		{
			[]string{"cat/IMG_0.png", "cat/DSC_1.png", "dog/IMG_0.png", "dog/DSC_1.png"},
			`"classes":[],"no_classes":"folder `,
			[]string{"no classes                folder ", "choose prefix or folder", "--labels chooses"},
		},
	} {
		dir := classFolder(t, test.paths...)
		got := iddpm(t, "data", "info", dir, "--json")
		if got.status != exitDone || !json.Valid([]byte(got.stdout)) || !strings.Contains(got.stdout, test.json) {
			t.Errorf("%v: %d, %s%s", test.paths, got.status, got.stdout, got.stderr)
		}
		got = iddpm(t, "data", "info", dir)
		for _, text := range test.text {
			if !strings.Contains(got.stdout, text) {
				t.Errorf("%v: no %q in %s", test.paths, text, got.stdout)
			}
		}
	}
}
