package docs

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// tree contains the names that documents may use.
type tree struct {
	root     string
	files    map[string][]string // symbols that each Go file declares, by its path; a method or a field as Type.Name
	packages map[string][]string // those of each package, by the last part of its path
	tests    map[string][]string // names of the tests of each folder
}

// readTree parses the Go files under root, except built and hidden ones.
func readTree(root string) (*tree, error) {
	t := &tree{root: root, files: map[string][]string{}, packages: map[string][]string{}, tests: map[string][]string{}}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && path != root && (name == "build" || name == "testdata" || strings.HasPrefix(name, ".")) {
			return filepath.SkipDir
		}
		if d.IsDir() || filepath.Ext(name) != ".go" {
			return nil
		}
		return t.add(path)
	})
	return t, err
}

func (t *tree) add(path string) error {
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	path, err = filepath.Rel(t.root, path)
	if err != nil {
		return err
	}
	symbols, dir := declared(file), filepath.ToSlash(filepath.Dir(path))
	t.files[filepath.ToSlash(path)] = symbols
	if !strings.HasSuffix(path, "_test.go") {
		t.packages[filepath.Base(dir)] = append(t.packages[filepath.Base(dir)], symbols...)
		return nil
	}
	for _, s := range symbols {
		if strings.HasPrefix(s, "Test") {
			t.tests[dir] = append(t.tests[dir], s)
		}
	}
	return nil
}

// declared returns the names that a file declares.
func declared(file *ast.File) (names []string) {
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			names = append(names, receiver(d)+d.Name.Name)
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				names = append(names, specified(spec)...)
			}
		}
	}
	return names
}

// receiver returns "Type." for a method, "" for a function.
func receiver(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return ""
	}
	of := f.Recv.List[0].Type
	if pointer, ok := of.(*ast.StarExpr); ok {
		of = pointer.X
	}
	if generic, ok := of.(*ast.IndexExpr); ok {
		of = generic.X
	}
	return fmt.Sprint(of) + "."
}

func specified(spec ast.Spec) (names []string) {
	switch s := spec.(type) {
	case *ast.ValueSpec:
		for _, name := range s.Names {
			names = append(names, name.Name)
		}
	case *ast.TypeSpec:
		names = append(names, s.Name.Name)
		if of, ok := s.Type.(*ast.StructType); ok {
			for _, field := range of.Fields.List {
				for _, name := range field.Names {
					names = append(names, s.Name.Name+"."+name.Name)
				}
			}
		}
	}
	return names
}

var (
	fence  = regexp.MustCompile("(?s)```.*?```")
	goFile = regexp.MustCompile(`[\w/]+\.go\b`)
	// source is a file's name without a folder, or a path, and may be a command with
	// arguments: `nll.go`, `tools/dry-gpu`, `scripts/dry_gpu.py launches`.
	source = regexp.MustCompile("`([\\w*/.-]+\\.(?:go|c|cc|cu|h|py|sh|md)|[a-z]+/[\\w*/.-]*)[` ]")
	// qualified is a symbol of a package: `diffusion.GaussianDiffusion.QSample`.
	qualified = regexp.MustCompile("`\\*?([a-z]\\w*)\\.([A-Z]\\w*(?:\\.[A-Z]\\w*)?)`")
	// fileThenNames and nameInFile say where symbols are: `bpd.go`: `CalcBPD`, and
	// `Config.LowRes` in `model/resample.go`.
	fileThenNames = regexp.MustCompile("`([\\w/.-]+\\.go)`: (`[\\w.]+`(?:, `[\\w.]+`)*)")
	nameInFile    = regexp.MustCompile("`([\\w.]+)` in\\s+`([\\w/.-]+\\.go)`")
	// tests follow the folder that they are in: `train` TestResume, TestKeep/every.
	tests = regexp.MustCompile("`([\\w/]+)`((?:,? Test[A-Z]\\w*(?:/\\w+)?)+)")
	test  = regexp.MustCompile(`Test[A-Z]\w*`)
)

// note records whether a name is right, and the problem if it is not.
type note func(ok bool, format string, a ...any)

// check counts the names in a text, and reports those that are not in the tree.
func (t *tree) check(text string) (named int, problems []string) {
	text = fence.ReplaceAllString(text, "")
	note := func(ok bool, format string, a ...any) {
		named++
		if problem := fmt.Sprintf(format, a...); !ok && !slices.Contains(problems, problem) {
			problems = append(problems, problem)
		}
	}
	for _, m := range source.FindAllStringSubmatch(text, -1) {
		t.checkFile(m[1], note)
	}
	t.checkSymbols(text, note)
	t.checkTests(text, note)
	return named, problems
}

// checkSymbols checks symbols that are named with their package or their file.
func (t *tree) checkSymbols(text string, note note) {
	for _, m := range qualified.FindAllStringSubmatch(text, -1) {
		if symbols, ours := t.packages[m[1]]; ours {
			note(slices.Contains(symbols, m[2]), "package %s has no %s", m[1], m[2])
		}
	}
	for _, m := range fileThenNames.FindAllStringSubmatch(text, -1) {
		for name := range strings.SplitSeq(m[2], ", ") {
			name = strings.Trim(name, "`")
			note(t.declares(m[1], name), "%s has no %s", m[1], name)
		}
	}
	for _, m := range nameInFile.FindAllStringSubmatch(text, -1) {
		note(t.declares(m[2], m[1]), "%s has no %s", m[2], m[1])
	}
}

// checkTests checks tests in the folder that is named before them.
func (t *tree) checkTests(text string, note note) {
	for _, m := range tests.FindAllStringSubmatch(text, -1) {
		for _, name := range test.FindAllString(m[2], -1) {
			note(slices.Contains(t.tests[m[1]], name), "there is no %s in %s", name, m[1])
		}
	}
	for _, name := range test.FindAllString(tests.ReplaceAllString(text, ""), -1) {
		note(false, "%s is named without its folder", name)
	}
}

// checkFile checks a path, which may be a pattern, or a file name in any folder. It
// skips build outputs and folders of other trees.
func (t *tree) checkFile(path string, note note) {
	top, _, nested := strings.Cut(path, "/")
	switch {
	case !nested:
		note(t.hasName(path), "there is no file %s", path)
	case top != "build" && exists(filepath.Join(t.root, top)):
		found, _ := filepath.Glob(filepath.Join(t.root, path))
		note(len(found) > 0, "there is no %s", path)
	}
}

// hasName reports whether some folder has a file of that name: of Go, or at root.
func (t *tree) hasName(name string) bool {
	for path := range t.files {
		if filepath.Base(path) == name {
			return true
		}
	}
	return exists(filepath.Join(t.root, name))
}

// declares reports whether the file of a path, or any of a bare name, declares a
// symbol: a method by its own name or with its type's.
func (t *tree) declares(file, symbol string) bool {
	for path, symbols := range t.files {
		if path != file && filepath.Base(path) != file {
			continue
		}
		if slices.ContainsFunc(symbols, func(s string) bool { return s == symbol || strings.HasSuffix(s, "."+symbol) }) {
			return true
		}
	}
	return false
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
