package figure

import (
	"math"
	"strconv"

	"gonum.org/v1/plot"
)

// linearTicks returns five to ten ticks at round numbers; thousands are written K and
// millions M.
func linearTicks(low, high float64) []plot.Tick {
	const least = 5
	rough := (high - low) / least
	stride := math.Pow10(int(math.Floor(math.Log10(rough))))
	for _, m := range []float64{5, 2} {
		if m*stride <= rough {
			stride *= m
			break
		}
	}
	digits := max(0, -int(math.Floor(math.Log10(stride)+1e-9)))
	var ticks []plot.Tick
	for k := math.Ceil(low/stride - 1e-9); k*stride <= high+1e-9*stride; k++ {
		v := k*stride + 0 // no -0
		t := plot.Tick{Value: v, Label: strconv.FormatFloat(v, 'f', digits, 64)}
		if math.Max(math.Abs(low), math.Abs(high)) >= 10_000 {
			t.Label = short(v)
		}
		ticks = append(ticks, t)
	}
	return ticks
}

func short(v float64) string {
	switch size := math.Abs(v); {
	case size >= 1e6:
		return strconv.FormatFloat(v/1e6, 'g', 6, 64) + "M"
	case size >= 1e3:
		return strconv.FormatFloat(v/1e3, 'g', 6, 64) + "K"
	}
	return strconv.FormatFloat(v, 'g', 6, 64)
}

// logTicks labels the powers of ten: on a long axis every second or third of them, on a
// short one also their multiples.
func logTicks(low, high float64) []plot.Tick {
	decades := math.Log10(high / low)
	every := int(math.Ceil(decades / 7))
	labelled := map[int]bool{1: true}
	switch {
	case decades < 1:
		labelled = map[int]bool{1: true, 2: true, 3: true, 4: true, 5: true, 6: true, 7: true, 8: true, 9: true}
	case decades < 2.3:
		labelled = map[int]bool{1: true, 2: true, 5: true}
	}
	var ticks []plot.Tick
	for e := int(math.Floor(math.Log10(low))); e <= int(math.Ceil(math.Log10(high))); e++ {
		for m := 1; m < 10; m++ {
			v := float64(m) * math.Pow10(e)
			if v < low*(1-1e-9) || v > high*(1+1e-9) {
				continue
			}
			t := plot.Tick{Value: v}
			if labelled[m] && e%every == 0 {
				t.Label = power(m, e)
			}
			ticks = append(ticks, t)
		}
	}
	return ticks
}

// power formats m 10^e: as a decimal near 1, else as 2e-6. The fonts have no superscript
// minus sign.
func power(m, e int) string {
	if -3 <= e && e <= 4 {
		return strconv.FormatFloat(float64(m)*math.Pow10(e), 'f', max(0, -e), 64)
	}
	return strconv.Itoa(m) + "e" + strconv.Itoa(e)
}
