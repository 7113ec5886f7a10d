package cli

import (
	"reflect"
	"strings"
	"testing"

	"iddpm/runconfig"
)

func TestSetShow(t *testing.T) {
	for _, test := range []struct {
		value any
		text  string
		want  any
		shown string
	}{
		{new(int), " -3 ", -3, "-3"},
		{new(uint64), "18446744073709551615", uint64(1<<64 - 1), "18446744073709551615"},
		{new(float64), "1e-4", 1e-4, "0.0001"},
		{new(bool), "Yes", true, "true"},
		{new(bool), "0", false, "false"},
		{new(string), "a b", "a b", "a b"},
		{new([]int), "16, 8", []int{16, 8}, "16,8"},
		{new([]int), "", []int(nil), ""},
		{new([]float64), "0.99,0.9999", []float64{0.99, 0.9999}, "0.99,0.9999"},
	} {
		if err := Set(test.value, test.text); err != nil {
			t.Errorf("%q: %v", test.text, err)
		}
		if got := reflect.ValueOf(test.value).Elem().Interface(); !reflect.DeepEqual(got, test.want) {
			t.Errorf("%q became %v", test.text, got)
		}
		if got := Format(test.value); got != test.shown {
			t.Errorf("%q is shown as %q", test.text, got)
		}
	}
}

// TestMicrobatchValue parses and formats --microbatch.
func TestMicrobatchValue(t *testing.T) {
	var o runconfig.Options
	for _, c := range []struct {
		text, shown string
		n           int
		auto        bool
	}{{"auto", "auto", 0, true}, {" 4 ", "4", 4, false}, {"-1", "-1", -1, false}} {
		v := &microbatchValue{&o}
		if err := Set(v, c.text); err != nil || o.Microbatch != c.n || o.MicrobatchAuto != c.auto || Format(v) != c.shown {
			t.Errorf("%q: %v, microbatch %d, auto %t, shown as %s", c.text, err, o.Microbatch, o.MicrobatchAuto, Format(v))
		}
	}
	o.Microbatch, o.MicrobatchAuto = 16, true // as a run has chosen
	if got := Format(&microbatchValue{&o}); got != "16" {
		t.Errorf("a chosen microbatch is shown as %s", got)
	}
	if err := Set(&microbatchValue{}, "automatic"); err == nil || !strings.Contains(err.Error(), "neither a whole number nor auto") {
		t.Errorf("automatic: %v", err)
	}
}
