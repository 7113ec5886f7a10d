// Package docs contains the tests of the documents in this folder.
package docs

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// root is the tree's.
const root = ".."

// TestDocsNameWhatIsThere looks up every file, symbol and test that the texts name.
func TestDocsNameWhatIsThere(t *testing.T) {
	tree, err := readTree(root)
	if err != nil {
		t.Fatal(err)
	}
	texts, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	named := 0
	for _, path := range append(texts, filepath.Join(root, "README.md"), filepath.Join(root, "CONTRIBUTING.md")) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		n, problems := tree.check(string(text))
		named += n
		for _, problem := range problems {
			t.Errorf("%s: %s", path, problem)
		}
	}
	if named < 200 {
		t.Errorf("only %d names were found in the texts: the parser no longer sees them", named)
	}
}

// TestMapsNameWhatIsThere looks up the files that packages name in their doc.go.
func TestMapsNameWhatIsThere(t *testing.T) {
	tree, err := readTree(root)
	if err != nil {
		t.Fatal(err)
	}
	for path := range tree.files {
		if filepath.Base(path) != "doc.go" {
			continue
		}
		text, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range goFile.FindAllString(string(text), -1) {
			if !exists(filepath.Join(root, filepath.Dir(path), name)) && !exists(filepath.Join(root, name)) {
				t.Errorf("%s names %s, which is not there", path, name)
			}
		}
	}
}

func TestCheck(t *testing.T) {
	tree, err := readTree(root)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"`diffusion/sample.go` and `sample.go`, in `csrc/kernels/`, `gotorch/*_test.go`": "",
		"`diffusion/walk.go`":            "there is no diffusion/walk.go",
		"`walk.go`":                      "there is no file walk.go",
		"`tools/dry-gpus`":               "there is no tools/dry-gpus",
		"`tools/dry-gpu/rules_tests.cc`": "there is no tools/dry-gpu/rules_tests.cc",
		"`gotorch/*_tests.go`":           "there is no gotorch/*_tests.go",
		"`build/test-kernels`, `checkpoints/`, `NAME.png`":           "",
		"```\nbuild/iddpm `train/nowhere.go`\n```":                   "",
		"`diffusion.GaussianDiffusion.SampleLoop`, `model.Segments`": "",
		"`diffusion.SampleLoop`":                                     "package diffusion has no SampleLoop",
		"`diffusion.GaussianDiffusion.Take`":                         "package diffusion has no GaussianDiffusion.Take",
		"`runconfig.Config.Diffusion`, `runtime.KeepAlive`":          "",
		"`gaussian.go`: `QMeanVariance`, `predictXStart`":            "",
		"`gaussian.go`: `QMeanVariance`, `predXStart`":               "gaussian.go has no predXStart",
		"`losses.go`: `QSample`":                                     "losses.go has no QSample",
		"`Config.LowRes` in `model/resample.go`":                     "",
		"`Config.LowRes` in\n`model/forward.go`":                     "model/forward.go has no Config.LowRes",
		"`train` TestResume/annealing; `cmd/iddpm` TestKill":         "",
		"`train` TestResumes":                                        "there is no TestResumes in train",
		"as TestKill shows":                                          "TestKill is named without its folder",
		"`scripts/dry_gpus.py launches FLAGS`":                       "there is no scripts/dry_gpus.py",
		"`cmd/iddpm` TestKill, TestResumeThreads":                    "there is no TestResumeThreads in cmd/iddpm",
	} {
		_, problems := tree.check(text)
		got := strings.Join(problems, "; ")
		if got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// TestTree checks that the tree contains test files and no build outputs.
func TestTree(t *testing.T) {
	tree, err := readTree(root)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(tree.tests["docs"], "TestTree") {
		t.Error("the tree lacks this test")
	}
	for path := range tree.files {
		if strings.HasPrefix(path, "build/") {
			t.Fatalf("the tree holds %s", path)
		}
	}
}
