package gotorch

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

func one() Tensor { return full(1, 1) }

func TestScopeFreesItsTensors(t *testing.T) {
	checkLive(t)
	before := LiveTensors()
	Scope(func() {
		for range 3000 { // more than one slab of slots
			one()
		}
		if n := LiveTensors() - before; n != 3000 {
			t.Errorf("%d tensors live inside", n)
		}
		Scope(func() { one().Add(one(), 1) })
		if n := LiveTensors() - before; n != 3000 {
			t.Errorf("%d tensors live after the inner scope", n)
		}
	})
}

func TestMoveOut(t *testing.T) {
	checkLive(t)
	var free, kept Tensor
	Scope(func() {
		var outer Tensor
		Scope(func() {
			outer = one().MoveOut()
			Scope(func() { free = one().MoveOut().MoveOut().MoveOut(); kept = one().Unscoped() })
		})
		if outer.Float64() != 1 {
			t.Error("a tensor moved to the outer scope lost its value")
		}
		Scope(func() {
			if err := Try(func() { outer.MoveOut().Float64() }); err != nil {
				t.Errorf("moving out of an outer scope from an inner one: %v", err)
			}
		})
		if same := free.MoveOut(); same != free {
			t.Error("moving an unscoped tensor out made another handle")
		}
		outer.Free() // it was moved out of every scope
	})
	if free.Float64() != 1 || kept.Float64() != 1 {
		t.Error("a tensor moved out of all scopes lost its value")
	}
	free.Free()
	kept.Free()
}

// TestMoveOutOfTheMiddle moves and frees tensors anywhere in a scope's list: the
// others must not change.
func TestMoveOutOfTheMiddle(t *testing.T) {
	checkLive(t)
	var kept []Tensor
	Scope(func() {
		var all []Tensor
		for i := range 100 {
			all = append(all, full(float64(i)))
		}
		for i := range all {
			switch i % 3 {
			case 0:
				kept = append(kept, all[i].MoveOut())
			case 1:
				all[i].Free()
			}
		}
		for i := 2; i < len(all); i += 3 {
			if v := all[i].Float64(); v != float64(i) {
				t.Fatalf("tensor %d became %v", i, v)
			}
		}
	})
	for i, k := range kept {
		if v := k.Float64(); v != float64(3*i) {
			t.Fatalf("moved tensor %d became %v", 3*i, v)
		}
		k.Free()
	}
}

func TestFreeInsideAndTwice(t *testing.T) {
	checkLive(t)
	Scope(func() {
		x := one()
		copied := x
		x.Free()
		copied.Free()
		y := one() // may reuse x's slot
		copied.Free()
		if y.Float64() != 1 {
			t.Error("freeing a dead handle freed the slot's next tensor")
		}
	})
}

func TestScopeEndsOnPanicAndGoexit(t *testing.T) {
	checkLive(t)
	for _, c := range []struct {
		name string
		end  func()
	}{
		{"panic", func() { panic("enough") }},
		{"libtorch's error", func() { one().View(7) }},
		{"Goexit", runtime.Goexit},
	} {
		done := make(chan any)
		go func() {
			returned := any("Goexit")
			defer func() {
				if r := recover(); r != nil {
					returned = r
				}
				if n := IsGradEnabled(); !n {
					returned = "gradients are still off"
				}
				done <- returned
			}()
			Scope(func() {
				one()
				NoGrad(func() { Scope(func() { one(); c.end() }) })
			})
		}()
		if r := fmt.Sprint(<-done); strings.Contains(r, "gradients") {
			t.Errorf("%s: %s", c.name, r)
		}
	}
}

// TestForeignScope uses, frees and moves a scope's tensor from another thread.
func TestForeignScope(t *testing.T) {
	checkLive(t)
	Scope(func() {
		x := one()
		for name, f := range map[string]func(){
			"Free": x.Free, "MoveOut": func() { x.MoveOut() }, "Exp": func() { x.Exp() }, "Shape": func() { x.Shape() },
			"operand": func() { one().Mul(x) }, "list": func() { Cat([]Tensor{x, x}, 0) }, "Run": func() { Run(func() { x.Exp() }) },
		} {
			failed := make(chan error)
			go func() { failed <- Try(f) }()
			if err := <-failed; err == nil || !strings.Contains(err.Error(), "scope of another thread") {
				t.Errorf("%s: %v", name, err)
			}
		}
		if x.Float64() != 1 {
			t.Error("the tensor is gone")
		}
	})
}

// TestForeignScopeEnds uses the tensors of a goroutine's scopes from other goroutines,
// while the scopes end: each use must be an [*Error].
func TestForeignScopeEnds(t *testing.T) {
	checkLive(t)
	var shared atomic.Pointer[Tensor]
	done := make(chan struct{})
	var users sync.WaitGroup
	for range 2 {
		users.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if x := shared.Load(); x != nil {
					useForeign(t, *x)
				}
			}
		})
	}
	for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); {
		Scope(func() {
			for range 100 {
				x := ones(64)
				shared.Store(&x)
			}
		})
	}
	close(done)
	users.Wait()
}

// useForeign uses a tensor of another thread's scope, in a scope of its own.
func useForeign(t *testing.T, x Tensor) {
	var e *Error
	Scope(func() {
		if err := Try(func() { x.MulScalar(2).Float32s() }); !errors.As(err, &e) {
			t.Errorf("another thread's tensor: %v", err)
		}
	})
}

func TestGradMode(t *testing.T) {
	Run(func() {
		see := func(want bool) {
			t.Helper()
			if IsGradEnabled() != want {
				t.Errorf("gradients enabled: %v, want %v", !want, want)
			}
		}
		see(true)
		NoGrad(func() {
			see(false)
			EnableGrad(func() {
				see(true)
				_ = Try(func() { NoGrad(func() { see(false); one().View(7) }) })
				see(true)
			})
			see(false)
			_ = Try(func() { EnableGrad(func() { one().View(7) }) })
			see(false)
		})
		see(true)
		x := withGrad(ones(2))
		NoGrad(func() {
			if x.MulScalar(2).RequiresGrad() {
				t.Error("NoGrad recorded")
			}
		})
		if !x.MulScalar(2).RequiresGrad() {
			t.Error("no gradient is tracked after NoGrad")
		}
	})
}

func TestRun(t *testing.T) {
	var first, second, nested int
	Run(func() { first = syscall.Gettid() })
	Run(func() {
		second = syscall.Gettid()
		Run(func() { nested = syscall.Gettid() })
	})
	if first != second || first != nested {
		t.Errorf("Run used the threads %d, %d and %d", first, second, nested)
	}
}

func TestRunPassesPanicsOn(t *testing.T) {
	cause := errors.New("the cause")
	for _, value := range []any{cause, "text", 7, &Error{Op: "View", Message: "no"}} {
		got := func() (r any) {
			defer func() { r = recover() }()
			Run(func() { Run(func() { panic(value) }) })
			return nil
		}()
		if got != value {
			t.Errorf("panic(%v) came out as %v", value, got)
		}
	}
	err := Try(func() { Run(func() { one().View(7) }) })
	if err == nil || !strings.Contains(err.Error(), "invalid for input of size 1") {
		t.Errorf("libtorch's error came out as %v", err)
	}
	bug := func() (r any) {
		defer func() { r = recover() }()
		Run(func() { indexNowhere(nil) })
		return nil
	}()
	var out runtime.Error
	if e, ok := bug.(error); !ok || !errors.As(e, &out) || !strings.Contains(e.Error(), "indexNowhere") {
		t.Errorf("an index out of range came out without its place: %v", bug)
	}
	ran := false
	Run(func() { ran = true })
	if !ran {
		t.Error("the tensor thread did not survive")
	}
}

func indexNowhere(list []int) int { return list[len(list)] }

func TestTryLetsOtherPanicsThrough(t *testing.T) {
	defer func() {
		if r := recover(); r != "mine" {
			t.Errorf("recovered %v", r)
		}
	}()
	_ = Try(func() { panic("mine") })
}

// TestRunFromManyGoroutines sums on the tensor thread from many goroutines.
func TestRunFromManyGoroutines(t *testing.T) {
	checkLive(t)
	const goroutines, rounds = 16, 50
	total := zeros(nil...)
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for range rounds {
				Run(func() { Scope(func() { total.AddI(one().View(), 1) }) })
			}
		})
	}
	wg.Wait()
	if v := total.Float64(); v != goroutines*rounds {
		t.Errorf("the sum is %v, want %d", v, goroutines*rounds)
	}
	total.Free()
}

// TestGC leaves unscoped tensors to the collector.
func TestGC(t *testing.T) {
	GC()
	before := LiveTensors()
	kept := one()
	for range 1000 {
		one()
	}
	deadline := time.Now().Add(10 * time.Second)
	for LiveTensors() != before+1 && time.Now().Before(deadline) {
		FinishGC()
	}
	if n := LiveTensors() - before; n != 1 {
		t.Errorf("%d tensors live, want the one still in use", n)
	}
	if kept.Float64() != 1 {
		t.Error("the collector took a tensor in use")
	}
	kept.Free()
}
