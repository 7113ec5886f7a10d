package gotorch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// packageFiles parses this package's source files without its tests.
func packageFiles(t *testing.T) (list []*ast.File) {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("no source files: %v", err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, parsed)
	}
	return list
}

func packageFunctions(t *testing.T) (list []*ast.FuncDecl) {
	t.Helper()
	for _, file := range packageFiles(t) {
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok {
				list = append(list, f)
			}
		}
	}
	return list
}

// functionName returns "Name", or "Type.Name" for a method.
func functionName(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return f.Name.Name
	}
	of := f.Recv.List[0].Type
	if star, ok := of.(*ast.StarExpr); ok {
		of = star.X
	}
	return of.(*ast.Ident).Name + "." + f.Name.Name
}

// TestEveryArgumentIsKeptAlive reads the source: every tensor that a function passes to C
// must be in a runtime.KeepAlive there, or a garbage collection during the call may free it.
// Tests that try to provoke such a collection are unreliable.
func TestEveryArgumentIsKeptAlive(t *testing.T) {
	exempt := map[string]string{"Tensor.MoveOut": "a scope owns the tensor"}
	checked := 0
	for _, f := range packageFunctions(t) {
		name := functionName(f)
		handed, kept := map[string]bool{}, map[string]bool{}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.RangeStmt: // for _, t := range []Tensor{a, b} { runtime.KeepAlive(t.owner) }
				if keepsAlive(n.Body) {
					identifiers(n.X, kept)
				}
			case *ast.CallExpr:
				switch called, on := callee(n); called {
				case "KeepAlive":
					identifiers(n.Args[0], kept)
				case "defined", "optional", "made":
					handed[on] = true
				case "cList":
					identifiers(n.Args[1], handed)
				}
			}
			return true
		})
		if exempt[name] != "" || !callsC(f) {
			continue
		}
		for argument := range handed {
			checked++
			if !kept[argument] {
				t.Errorf("%s passes %s to C without runtime.KeepAlive", name, argument)
			}
		}
	}
	if checked < 120 {
		t.Errorf("only %d arguments found: the source does not have the form that this test expects", checked)
	}
}

// callee returns the name called, and for x.name(...) also x.
func callee(call *ast.CallExpr) (name, on string) {
	switch f := call.Fun.(type) {
	case *ast.Ident:
		return f.Name, ""
	case *ast.SelectorExpr:
		if x, ok := f.X.(*ast.Ident); ok {
			return f.Sel.Name, x.Name
		}
		return f.Sel.Name, ""
	}
	return "", ""
}

// callsC reports whether f calls the C ABI, directly or through a function argument.
func callsC(f *ast.FuncDecl) (yes bool) {
	ast.Inspect(f, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok {
			name, on := callee(call)
			yes = yes || on == "C" && strings.HasPrefix(name, "gt_") || on == "" && name == "f"
		}
		return !yes
	})
	return yes
}

func keepsAlive(body *ast.BlockStmt) (yes bool) {
	ast.Inspect(body, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok {
			name, _ := callee(call)
			yes = yes || name == "KeepAlive"
		}
		return !yes
	})
	return yes
}

func identifiers(e ast.Expr, into map[string]bool) {
	ast.Inspect(e, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok {
			into[id.Name] = true
		}
		return true
	})
}

// TestOperatorsStayOffTheHeap counts the Go allocations of an operator inside a scope.
func TestOperatorsStayOffTheHeap(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	x := ArangeOn(Device{}, Float, 0, 16, 1).View(1, 4, 2, 2)
	w := ones(4, 4, 1, 1)
	for name, f := range map[string]func(){
		"Add":       func() { x.Add(x, 0.5) },
		"AddI":      func() { x.AddI(x, 0) },
		"Silu":      func() { x.Silu() },
		"MulScalar": func() { x.MulScalar(2) },
		"View":      func() { x.View(4, 4) },
		"MeanDims":  func() { x.MeanDims(true, 2, 3) },
		"Zeros":     func() { zeros(2, 2) },
		"GroupNorm": func() { GroupNorm(x, 2, Tensor{}, Tensor{}, 1e-5) },
		"Conv2d":    func() { Conv2d(x, w, Tensor{}, []int64{1, 1}, []int64{0, 0}, []int64{1, 1}, 1) },
		"Philox":    func() { PhiloxNormal(Device{}, Float, PhiloxKey{}, 2, 2) },
		"Float64":   func() { x.Mean().Float64() },
		"Numel":     func() { x.Numel() },
	} {
		Scope(func() {
			if n := testing.AllocsPerRun(20, f); n > 0 {
				t.Errorf("%s allocates %v times", name, n)
			}
		})
	}
}

// TestABIIsUsed checks that Go calls every function of the headers.
func TestABIIsUsed(t *testing.T) {
	called := map[string]bool{}
	for _, file := range packageFiles(t) {
		ast.Inspect(file, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				if name, on := callee(call); on == "C" {
					called[name] = true
				}
			}
			return true
		})
	}
	for _, header := range []string{"iddpm.h", "iddpm_cuda.h"} {
		names := abiOf(t, filepath.Join("..", "csrc", header))
		for _, name := range names {
			if !called[name] {
				t.Errorf("%s: Go never calls %s", header, name)
			}
		}
		if len(names) < 10 {
			t.Errorf("%s: only %d functions found", header, len(names))
		}
	}
}

// abiOf returns the functions of a header: each is a line of its own,
// GT_API(type, name, (arguments)).
func abiOf(t *testing.T, header string) (names []string) {
	t.Helper()
	text, err := os.ReadFile(header)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.SplitN(line, ",", 3); len(fields) == 3 && strings.HasPrefix(line, "GT_API(") {
			names = append(names, strings.TrimSpace(fields[1]))
		}
	}
	return names
}
