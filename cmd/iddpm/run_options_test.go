package main

import (
	"math"
	"testing"
	"time"
)

func TestMinutes(t *testing.T) {
	for n, want := range map[float64]time.Duration{0: 0, 0.5: 30 * time.Second, 1e12: 1e6 * time.Minute, math.Inf(1): 1e6 * time.Minute} {
		if got := minutes(n); got != want {
			t.Errorf("%g minutes are %v, want %v", n, got, want)
		}
	}
}
