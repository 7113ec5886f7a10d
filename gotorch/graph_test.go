package gotorch

import "testing"

// TestGraph replays a small step with gradients and random numbers.
func TestGraph(t *testing.T) { checkGraph(t, Device{}) }

// checkGraph compares a graph's runs with the same work run eagerly: the first run is
// eager, later ones are captured and replayed.
func checkGraph(t *testing.T, d Device) {
	Run(func() {
		x := PhiloxNormal(Device{}, Float, PhiloxKey{Seed: 1}, 2, 8, 6, 6).To(d)
		w := PhiloxNormal(Device{}, Float, PhiloxKey{Seed: 2}, 8, 8, 3, 3).To(d)
		norm := PhiloxNormal(Device{}, Float, PhiloxKey{Seed: 3}, 8).To(d)
		row := FromFloat32s([]float32{0.7, 0.5, 0.4, 0.3, 0.2, -1, 0, 0.6}, 1, ReverseStepColumns).To(d)
		w.SetRequiresGrad(true)
		counter := ZerosOn(d, Long, 1)
		compute := func(key PhiloxKey) Tensor {
			key.Seed = 4
			noise := PhiloxNormal(d, Float, key, x.Shape()...)
			xT, more := DiffusionQSample(x, row.Narrow(1, 0, QSampleColumns).Expand(2, QSampleColumns), key)
			previous, _ := DiffusionReverseStep(xT, x, row.Expand(2, ReverseStepColumns), ReverseStepOptions{Noise: noise})
			h := Conv2d(previous.Add(more, 1), w, Tensor{}, []int64{1}, []int64{1}, []int64{1}, 1)
			h = GroupNormSilu(h, 4, norm, norm, 1e-5, GroupNormSiluOptions{Dropout: 0.3, Key: &key})
			loss := h.PhiloxDropout(0.2, key).PowScalar(2).Mean()
			loss.Backward()
			return loss
		}
		result := func(loss Tensor) []float64 { return append(loss.Float64s(), w.Grad().Float64s()...) }
		eager := func(step uint32) (values []float64) {
			Scope(func() {
				ZeroGrads([]Tensor{w})
				values = result(compute(PhiloxKey{Step: step, FirstSample: 7}))
			})
			return values
		}
		var loss Tensor
		g := NewGraph(d, func() {
			ZeroGrads([]Tensor{w})
			loss.Free()
			Scope(func() { loss = compute(PhiloxKey{Step: 3, FirstSample: 7, StepOf: counter}).Detach().MoveOut() })
			loss = loss.Unscoped()
		})
		var got [][]float64
		for step := range 4 {
			counter.FillI(float64(step))
			if step == 2 {
				x.CopyI(x.MulScalar(2))
			}
			g.Run()
			if err := g.Err(); err != nil {
				t.Fatal(err)
			}
			got = append(got, result(loss))
		}
		g.Close()
		x.CopyI(x.MulScalar(0.5))
		for step, values := range got {
			if step == 2 {
				x.CopyI(x.MulScalar(2))
			}
			want := eager(uint32(3 + step))
			if far, largest := furthest(values, want); far > 1e-6*largest {
				t.Errorf("run %d differs by %g of %g", step, far, largest)
			}
		}
	})
}
