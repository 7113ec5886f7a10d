package commas

import "testing"

func TestJoin(t *testing.T) {
	for want, got := range map[string]string{
		"":        Join([]int(nil)),
		"16":      Join([]int{16}),
		"1,2,4":   Join([]uint64{1, 2, 4}),
		"0.5,1,2": Join([]float64{0.5, 1, 2}),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
