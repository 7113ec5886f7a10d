package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// libraries are the packages that other programs import. Only the commands have flags.
var libraries = []string{"data", "diffusers", "diffusion", "distributed", "evaluate", "figure", "inference", "likelihood", "model", "storage", "streams", "train"}

var flagName = regexp.MustCompile(`(^|[^-\w])--[a-z]`)

// TestLibrariesNameNoFlags: their errors are typed, and cmd/iddpm/advice.go adds the flags.
func TestLibrariesNameNoFlags(t *testing.T) {
	for _, library := range libraries {
		err := filepath.WalkDir(filepath.Join("..", library), func(path string, d fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			files := token.NewFileSet()
			file, err := parser.ParseFile(files, path, nil, 0)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if text, ok := n.(*ast.BasicLit); ok && text.Kind == token.STRING && flagName.MatchString(text.Value) {
					t.Errorf("%v: %s names a flag of the command line", files.Position(text.Pos()), text.Value)
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}
