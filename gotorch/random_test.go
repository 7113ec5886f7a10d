package gotorch

import (
	"math"
	"slices"
	"strings"
	"testing"
)

// TestSameNumbersAsTorch pins what torch 2.11 draws from a generator of a seed.
func TestSameNumbersAsTorch(t *testing.T) {
	draw := func(n int64) Tensor {
		x := EmptyOn(Device{}, Float, n)
		x.NormalI(0, 1, NewGenerator(Device{}, 0))
		return x
	}
	u := EmptyOn(Device{}, Float, 4)
	u.UniformI(0, 1, NewGenerator(Device{}, 0))
	checkValues(t, u, []float64{0.49625658989, 0.76822179556, 0.08847743273, 0.13203048706}, 1e-7)
	checkValues(t, draw(4), []float64{1.54099607468, -0.29342889786, -2.17878937721, 0.56843125820}, 1e-6)
	x := draw(20) // from 16 numbers on libtorch uses another routine
	checkValues(t, x.Narrow(0, 0, 3), []float64{-1.12583982944, -1.15236020088, -0.25057858229}, 1e-6)
	checkValues(t, x.Narrow(0, 17, 3), []float64{1.25900924206, 2.00498056412, 0.05373690278}, 1e-6)

	g := NewGenerator(Device{}, 12345)
	u, n := EmptyOn(Device{}, Float, 3), EmptyOn(Device{}, Double, 3)
	u.UniformI(-1, 1, g)
	n.NormalI(2, 3, g)
	checkValues(t, u, []float64{0.96343636513, 0.75921308994, 0.98428690434}, 1e-7)
	checkValues(t, n, []float64{0.8066851265439683, -0.934920299994388, -2.472710806836493}, 1e-12)
}

func TestGeneratorsAreIndependent(t *testing.T) {
	draw := func(g *Generator) []float32 {
		x := EmptyOn(Device{}, Float, 33)
		x.NormalI(0, 1, g)
		return x.Float32s()
	}
	g, again := NewGenerator(Device{}, 7), NewGenerator(Device{}, 7)
	first, second := draw(g), draw(g)
	if slices.Equal(first, second) {
		t.Fatal("a generator repeats itself")
	}
	if !slices.Equal(first, draw(again)) {
		t.Error("the same seed gives other numbers")
	}
	draw(NewGenerator(Device{}, 8))
	if !slices.Equal(second, draw(again)) {
		t.Error("generators disturb each other")
	}
	mustFail(t, func() { one().NormalI(0, 1, nil) })
	mustFail(t, func() { one().UniformI(0, 1, new(Generator)) })
}

// philox is a reference implementation of Philox4x32-10 (Salmon et al. 2011, section 3.3
// and table 2).
func philox(counter [4]uint32, key [2]uint32) [4]uint32 {
	for range 10 {
		p0 := uint64(counter[0]) * 0xD2511F53
		p1 := uint64(counter[2]) * 0xCD9E8D57
		counter = [4]uint32{uint32(p1>>32) ^ counter[1] ^ key[0], uint32(p1), uint32(p0>>32) ^ counter[3] ^ key[1], uint32(p0)}
		key[0] += 0x9E3779B9
		key[1] += 0xBB67AE85
	}
	return counter
}

// TestPhiloxKnownAnswers checks the reference implementation with the three test vectors
// of Random123, by the paper's authors.
func TestPhiloxKnownAnswers(t *testing.T) {
	const all = 0xFFFFFFFF
	for _, c := range []struct {
		counter [4]uint32
		key     [2]uint32
		want    [4]uint32
	}{
		{[4]uint32{}, [2]uint32{}, [4]uint32{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
		{[4]uint32{all, all, all, all}, [2]uint32{all, all}, [4]uint32{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
		{[4]uint32{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, [2]uint32{0xa4093822, 0x299f31d0},
			[4]uint32{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
	} {
		if got := philox(c.counter, c.key); got != c.want {
			t.Errorf("philox(%x, %x) = %x, want %x", c.counter, c.key, got, c.want)
		}
	}
}

var philoxKeys = []PhiloxKey{
	{},
	{Seed: 0xFEDCBA9876543210, Stream: 3, Step: 4_000_000_000, FirstSample: 17},
	{Seed: 1, Stream: math.MaxUint32, FirstSample: 1<<32 - 2}, // rows on both sides of 2^32
	{Seed: math.MaxUint64, Step: 1, FirstSample: 5 << 33},
}

// TestPhiloxUniform compares every number with the reference implementation.
func TestPhiloxUniform(t *testing.T) {
	for _, key := range philoxKeys {
		for _, row := range []int64{1, 4, 7, 10} {
			got := PhiloxUniform(Device{}, Float, key, 4, row).Float32s()
			for i, v := range got {
				n, j := int64(i)/row, int64(i)%row
				if want := uniform(key, n, j); v != want {
					t.Fatalf("%+v, row %d, element %d: %v, want %v", key, n, j, v, want)
				}
			}
		}
	}
}

// uniform is element j of row n under a key.
func uniform(key PhiloxKey, n, j int64) float32 {
	sample := uint64(key.FirstSample + n)
	counter := [4]uint32{uint32(j / 4), uint32(sample), key.Step, key.Stream ^ uint32(sample>>32)*0x85EBCA6B}
	bits := philox(counter, [2]uint32{uint32(key.Seed), uint32(key.Seed >> 32)})
	return (float32(bits[j%4]>>9) + 0.5) / (1 << 23)
}

// TestPhiloxNormal compares with Box and Muller (1958) in float64.
func TestPhiloxNormal(t *testing.T) {
	for _, key := range philoxKeys {
		const row = 13
		got := PhiloxNormal(Device{}, Float, key, 3, row).Float64s()
		for i, v := range got {
			n, j := int64(i/row), int64(i%row)
			a, b := float64(uniform(key, n, j-j%2)), float64(uniform(key, n, j-j%2+1))
			want := math.Sqrt(-2*math.Log(a)) * math.Cos(2*math.Pi*b)
			if j%2 == 1 {
				want = math.Sqrt(-2*math.Log(a)) * math.Sin(2*math.Pi*b)
			}
			if !close64(v, want, 4e-6) {
				t.Fatalf("%+v, element %d: %v, want %v", key, i, v, want)
			}
		}
	}
}

// TestPhiloxSplits draws a batch whole and in parts: the rows must be the same.
func TestPhiloxSplits(t *testing.T) {
	key := PhiloxKey{Seed: 9, Stream: 2, Step: 5, FirstSample: 100}
	for _, shape := range [][]int64{{3, 5, 7}, {6}, {}} {
		for name, draw := range map[string]func(PhiloxKey, ...int64) Tensor{
			"normal":  func(k PhiloxKey, s ...int64) Tensor { return PhiloxNormal(Device{}, Float, k, s...) },
			"uniform": func(k PhiloxKey, s ...int64) Tensor { return PhiloxUniform(Device{}, Float, k, s...) },
			"dropout": func(k PhiloxKey, s ...int64) Tensor { return ones(s...).PhiloxDropout(0.5, k) },
		} {
			whole := draw(key, append([]int64{8}, shape...)...)
			for _, parts := range []int64{2, 4, 8} {
				var list []Tensor
				for first := int64(0); first < 8; first += 8 / parts {
					k := key
					k.FirstSample += first
					list = append(list, draw(k, append([]int64{8 / parts}, shape...)...))
				}
				if !Equal(whole, Cat(list, 0)) {
					t.Errorf("%s of rows %v in %d parts differs from the whole", name, shape, parts)
				}
			}
		}
	}
}

// TestPhiloxStreams checks that every field of the key changes the numbers.
func TestPhiloxStreams(t *testing.T) {
	key := PhiloxKey{Seed: 1, Stream: 1, Step: 1, FirstSample: 1}
	base := PhiloxUniform(Device{}, Float, key, 1, 64)
	if !Equal(base, PhiloxUniform(Device{}, Float, key, 1, 64)) {
		t.Fatal("drawn again, the numbers differ")
	}
	for name, other := range map[string]PhiloxKey{
		"low seed":    {Seed: 2, Stream: 1, Step: 1, FirstSample: 1},
		"high seed":   {Seed: 1 + 1<<40, Stream: 1, Step: 1, FirstSample: 1},
		"stream":      {Seed: 1, Stream: 2, Step: 1, FirstSample: 1},
		"step":        {Seed: 1, Stream: 1, Step: 2, FirstSample: 1},
		"sample":      {Seed: 1, Stream: 1, Step: 1, FirstSample: 2},
		"high sample": {Seed: 1, Stream: 1, Step: 1, FirstSample: 1 + 1<<40},
	} {
		same := PhiloxUniform(Device{}, Float, other, 1, 64).Sub(base, 1).EqScalar(0).Sum().Float64()
		if same > 2 {
			t.Errorf("another %s leaves %v of 64 numbers the same", name, same)
		}
	}
}

// TestPhiloxStepOf adds a tensor to the key's step.
func TestPhiloxStepOf(t *testing.T) {
	key := PhiloxKey{Seed: 1, Stream: 2, Step: 3, FirstSample: 4}
	for _, c := range []struct {
		added int64
		same  PhiloxKey
	}{
		{40, PhiloxKey{Seed: 1, Stream: 2, Step: 43, FirstSample: 4}},
		{-1, PhiloxKey{Seed: 1, Stream: 2, Step: 2, FirstSample: 4}},
	} {
		key.StepOf = FromInt64s([]int64{c.added})
		for name, draw := range map[string]func(PhiloxKey) Tensor{
			"normal":  func(k PhiloxKey) Tensor { return PhiloxNormal(Device{}, Float, k, 3, 5) },
			"uniform": func(k PhiloxKey) Tensor { return PhiloxUniform(Device{}, Float, k, 3, 5) },
			"dropout": func(k PhiloxKey) Tensor { return ones(3, 50).PhiloxDropout(0.5, k) },
		} {
			if !Equal(draw(key), draw(c.same)) {
				t.Errorf("%s: with %v added, the numbers differ from %+v", name, c.added, c.same)
			}
		}
	}
	for _, wrong := range []Tensor{FromFloat32s([]float32{1}), FromInt64s([]int64{1, 2}), FromInt64s(nil, 0), FromInt64s([]int64{1}).Expand(2)} {
		key.StepOf = wrong
		if err := mustFail(t, func() { PhiloxNormal(Device{}, Float, key, 1) }); !strings.Contains(err.Message, "not one int64 on cpu") {
			t.Errorf("%v added: %v", wrong, err)
		}
	}
}

// TestPhiloxDistribution checks moments and tails of a million numbers; the bounds are
// five standard errors.
func TestPhiloxDistribution(t *testing.T) {
	const n = 1 << 20
	check := func(name string, got, want, deviation float64) {
		t.Helper()
		if bound := 5 * deviation / math.Sqrt(n); math.Abs(got-want) > bound {
			t.Errorf("%s: %v, want %v +- %v", name, got, want, bound)
		}
	}
	Scope(func() {
		z := PhiloxNormal(Device{}, Float, PhiloxKey{Seed: 3}, 16, n/16)
		check("mean", z.Mean().Float64(), 0, 1)
		check("variance", z.PowScalar(2).Mean().Float64(), 1, math.Sqrt2)
		check("third moment", z.PowScalar(3).Mean().Float64(), 0, math.Sqrt(15))
		check("fourth moment", z.PowScalar(4).Mean().Float64(), 3, math.Sqrt(96))
		for _, x := range []float64{1, 2, 3, 4} {
			p := math.Erfc(x / math.Sqrt2)
			check("tail", z.Abs().GreaterScalar(x).CastTo(Float).Mean().Float64(), p, math.Sqrt(p*(1-p)))
		}
		neighbours := z.Narrow(1, 0, n/16-1).Mul(z.Narrow(1, 1, n/16-1)).Mean().Float64()
		check("correlation of neighbours", neighbours, 0, 1)
		rows := z.Narrow(0, 0, 15).Mul(z.Narrow(0, 1, 15)).Mean().Float64()
		check("correlation of rows", rows, 0, 1)
		u := PhiloxUniform(Device{}, Float, PhiloxKey{Seed: 4}, n)
		check("uniform mean", u.Mean().Float64(), 0.5, math.Sqrt(1./12))
		if lo, hi := -u.Neg().Max().Float64(), u.Max().Float64(); lo <= 0 || hi >= 1 {
			t.Errorf("uniform numbers reach %v and %v", lo, hi)
		}
	})
}

// TestPhiloxDtypesAndLayout draws the same numbers in every dtype, and numbers
// an [N, C, H, W] tensor in its channels-last order.
func TestPhiloxDtypesAndLayout(t *testing.T) {
	key := PhiloxKey{Seed: 5}
	single := PhiloxNormal(Device{}, Float, key, 2, 3, 4, 5)
	if !single.IsChannelsLast() {
		t.Error("[N, C, H, W] is not channels-last")
	}
	for _, dtype := range []DType{Double, Half, BFloat16} {
		got := PhiloxNormal(Device{}, dtype, key, 2, 3, 4, 5)
		if got.Dtype() != dtype || !Equal(got, single.CastTo(dtype)) {
			t.Errorf("%s differs", dtype)
		}
	}
	flat := PhiloxNormal(Device{}, Float, key, 2, 4*5*3).View(2, 4, 5, 3).Permute([]int64{0, 3, 1, 2})
	if !Equal(single, flat) {
		t.Error("elements are not numbered in channels-last order")
	}
	for _, shape := range [][]int64{{0}, {2, 0}, {0, 3, 2, 2}} {
		checkShape(t, PhiloxNormal(Device{}, Float, key, shape...), shape...)
	}
	checkShape(t, PhiloxUniform(Device{}, Float, key))
	err := mustFail(t, func() { PhiloxUniform(Device{}, Float, key, 1, 1<<34+1) })
	if !strings.Contains(err.Message, "too large for the random stream") {
		t.Errorf("a row longer than the counter: %v", err)
	}
}

func TestPhiloxDropout(t *testing.T) {
	key := PhiloxKey{Seed: 6, Stream: 1}
	Scope(func() {
		const n, p = 1 << 18, 0.3
		x := ones(4, n/4)
		x.SetRequiresGrad(true)
		y := x.PhiloxDropout(p, key)
		if !Equal(y, x.PhiloxDropout(p, key)) {
			t.Error("drawn again, the mask differs")
		}
		kept := y.GreaterScalar(0).CastTo(Double).Mean().Float64()
		if bound := 5 * math.Sqrt(p*(1-p)/n); math.Abs(kept-(1-p)) > bound {
			t.Errorf("keeps %v, want %v +- %v", kept, 1-p, bound)
		}
		if largest := y.Max().Float64(); !close64(largest, 1/(1-p), 1e-6) {
			t.Errorf("kept elements become %v, want %v", largest, 1/(1-p))
		}
		y.Sum().Backward()
		if !Equal(x.Grad(), y.Detach()) {
			t.Error("the gradient is not the mask")
		}
		for _, dtype := range []DType{Double, Half, BFloat16} {
			if !Equal(x.Detach().CastTo(dtype).PhiloxDropout(p, key).GreaterScalar(0), y.GreaterScalar(0)) {
				t.Errorf("the mask in %s is another", dtype)
			}
		}
		if !Equal(x, x.PhiloxDropout(0, key)) {
			t.Error("a rate of 0 drops something")
		}
		mustFail(t, func() { ones(2).CastTo(Long).PhiloxDropout(p, key) })
		mustFail(t, func() { x.PhiloxDropout(math.NaN(), key) })
	})
}
