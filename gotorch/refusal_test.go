package gotorch

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

// refusals calls each exported operator with arguments that libtorch or gotorch must
// reject; says is part of the message. A method is named Type.Method.
func refusals() map[string]refusal {
	f := func(v ...float32) Tensor { return FromFloat32s(v) }
	two, three := f(1, 2), f(1, 2, 3)
	square := zeros(2, 2)
	img := zeros(1, 4, 3, 3)
	one := []int64{1}
	none := Tensor{}
	nowhere := Device{Type: 7}
	const mismatch = "The size of tensor a (2) must match the size of tensor b (3)"
	leaf := withGrad(zeros(2))
	generator := NewGenerator(Device{}, 1)
	closed := &ProcessGroup{size: 1}
	left := &Rendezvous{group: closed}
	noGPU := "there is no GPU"
	if err := LoadCUDA(); err != nil {
		noGPU = err.Error()
	}
	return map[string]refusal{
		// constructors
		"EmptyOn":      {func() { EmptyOn(Device{}, Float, -1) }, "negative dimension -1"},
		"ZerosOn":      {func() { ZerosOn(Device{}, 99, 1) }, "there is no dtype 99"},
		"FullOn":       {func() { FullOn(nowhere, Float, 1, 1) }, "there is no device type 7"},
		"ArangeOn":     {func() { ArangeOn(Device{}, Float, 0, 1, 0) }, "step must be nonzero"},
		"LinspaceOn":   {func() { LinspaceOn(Device{}, Float, 0, 1, -1) }, "number of steps must be non-negative"},
		"EmptyLike":    {func() { EmptyLike(none) }, "undefined"},
		"ZerosLike":    {func() { ZerosLike(none) }, "undefined"},
		"FromBytes":    {func() { FromBytes([]byte{1, 2, 3}, Float, 1) }, "needs 4 bytes, not 3"},
		"FromFloat32s": {func() { FromFloat32s([]float32{1}, 2) }, "needs 8 bytes, not 4"},
		"FromFloat64s": {func() { FromFloat64s([]float64{1}, 1, 2) }, "needs 16 bytes, not 8"},
		"FromInt64s":   {func() { FromInt64s([]int64{1}, 0) }, "needs 0 bytes, not 8"},
		"FromPT":       {func() { FromPT(nil) }, "nil"},

		// pointwise
		"Tensor.Add":           {func() { two.Add(three, 1) }, mismatch},
		"Tensor.AddI":          {func() { two.AddI(three, 1) }, mismatch},
		"Tensor.Sub":           {func() { two.Sub(three, 1) }, mismatch},
		"Tensor.SubI":          {func() { two.SubI(three, 1) }, mismatch},
		"Tensor.Mul":           {func() { two.Mul(three) }, mismatch},
		"Tensor.Div":           {func() { two.Div(three) }, mismatch},
		"Tensor.DivI":          {func() { two.DivI(three) }, mismatch},
		"Tensor.Less":          {func() { two.Less(three) }, mismatch},
		"Tensor.Addcmul":       {func() { two.Addcmul(three, three, 1) }, mismatch},
		"Where":                {func() { Where(two.EqScalar(1), two, three) }, mismatch},
		"Tensor.AddScalarI":    {func() { FromInt64s(one).AddScalarI(0.5) }, "can't be cast to the desired output type"},
		"Tensor.MulScalarI":    {func() { FromInt64s(one).MulScalarI(0.5) }, "can't be cast to the desired output type"},
		"Tensor.PowScalar":     {func() { FromInt64s(one).PowScalar(-1) }, "Integers to negative integer powers are not allowed"},
		"Tensor.AddScalar":     {func() { none.AddScalar(1) }, "undefined"},
		"Tensor.MulScalar":     {func() { none.MulScalar(1) }, "undefined"},
		"Tensor.Clamp":         {func() { none.Clamp(0, 1) }, "undefined"},
		"Tensor.ClampMin":      {func() { none.ClampMin(0) }, "undefined"},
		"Tensor.FillI":         {func() { leaf.FillI(1) }, "leaf Variable that requires grad"},
		"Tensor.Exp":           {func() { none.Exp() }, "undefined"},
		"Tensor.Log":           {func() { none.Log() }, "undefined"},
		"Tensor.Sqrt":          {func() { none.Sqrt() }, "undefined"},
		"Tensor.Neg":           {func() { two.EqScalar(1).Neg() }, "Negation, the `-` operator, on a bool tensor is not supported"},
		"Tensor.Abs":           {func() { two.EqScalar(1).Abs() }, "not implemented for 'Bool'"},
		"Tensor.Tanh":          {func() { none.Tanh() }, "undefined"},
		"Tensor.Sigmoid":       {func() { none.Sigmoid() }, "undefined"},
		"Tensor.Silu":          {func() { two.CastTo(Long).Silu() }, "not implemented for 'Long'"},
		"Tensor.Relu":          {func() { two.EqScalar(1).Relu() }, "Boolean inputs not supported for relu"},
		"Tensor.Cos":           {func() { none.Cos() }, "undefined"},
		"Tensor.Sin":           {func() { none.Sin() }, "undefined"},
		"Tensor.IsFinite":      {func() { none.IsFinite() }, "undefined"},
		"Tensor.EqScalar":      {func() { none.EqScalar(1) }, "undefined"},
		"Tensor.LessScalar":    {func() { none.LessScalar(1) }, "undefined"},
		"Tensor.GreaterScalar": {func() { none.GreaterScalar(1) }, "undefined"},

		// reductions
		"Tensor.SumDims":  {func() { two.SumDims(false, 0, 0) }, "appears multiple times in the list of dims"},
		"Tensor.MeanDims": {func() { two.CastTo(Long).MeanDims(false) }, "could not infer output dtype"},
		"Tensor.Sum":      {func() { none.Sum() }, "undefined"},
		"Tensor.Mean":     {func() { two.CastTo(Long).Mean() }, "could not infer output dtype"},
		"Tensor.Max":      {func() { zeros(0).Max() }, "Expected reduction dim to be specified for input.numel() == 0"},
		"Tensor.Cumprod":  {func() { two.Cumprod(1) }, "Dimension out of range"},
		"TopK":            {func() { TopK(two, 3, 0, true, true) }, "selected index k out of range"},
		"Equal":           {func() { Equal(two, none) }, "undefined"},

		// shapes
		"Tensor.View":        {func() { square.Transpose(0, 1).View(4) }, "view size is not compatible"},
		"Tensor.Reshape":     {func() { three.Reshape(2, -1) }, "shape '[2, -1]' is invalid for input of size 3"},
		"Tensor.Permute":     {func() { square.Permute([]int64{0}) }, "number of dimensions"},
		"Tensor.Transpose":   {func() { square.Transpose(0, 2) }, "Dimension out of range"},
		"Tensor.Unsqueeze":   {func() { square.Unsqueeze(5) }, "Dimension out of range"},
		"Flatten":            {func() { Flatten(square, 1, 0) }, "start_dim cannot come after end_dim"},
		"Tensor.Expand":      {func() { three.Expand(2) }, "The expanded size of the tensor (2) must match the existing size (3)"},
		"Tensor.Narrow":      {func() { three.Narrow(0, 2, 2) }, "exceeds dimension size (3)"},
		"Tensor.Chunk":       {func() { three.Chunk(2, 0) }, "is not divisible into equal parts"},
		"Tensor.Select":      {func() { three.Select(0, 3) }, "index 3 out of range"},
		"Tensor.IndexSelect": {func() { three.IndexSelect(0, FromInt64s([]int64{3})) }, "index out of range"},
		"Cat":                {func() { Cat([]Tensor{two, square}, 0) }, "Tensors must have same number of dimensions"},
		"Stack":              {func() { Stack([]Tensor{two, three}, 0) }, "stack expects each tensor to be equal size"},
		"Tensor.Size":        {func() { two.Size(1) }, "dimension 1 is out of range for the shape [2]"},

		// products and layers
		"MM":     {func() { MM(square, three) }, "mat2 must be a matrix"},
		"MatMul": {func() { MatMul(square, three) }, "size mismatch"},
		"LinearEach": {func() { LinearEach(zeros(1, 2), []Tensor{zeros(2, 3)}, []Tensor{two}) },
			"weight 0 [2, 3] and bias [2] do not fit [1, 2]"},
		"Linear":              {func() { Linear(two, zeros(2, 3), none) }, "shapes cannot be multiplied (1x2 and 3x2)"},
		"Conv2d":              {func() { Conv2d(img, square, none, one, one, one, 1) }, "weight"},
		"GroupNorm":           {func() { GroupNorm(img, 3, none, none, 1e-5) }, "Expected number of channels in input to be divisible by num_groups"},
		"GroupNormSiluSkip":   {func() { GroupNormSiluSkip(img, 3, two, two, 1e-5, GroupNormSiluOptions{}) }, "4 channels are not divisible by 3 groups"},
		"GroupNormSiluConcat": {func() { GroupNormSiluConcat(img, img, 3, two, two, 1e-5, GroupNormSiluOptions{}) }, "8 channels are not divisible by 3 groups"},
		"GroupNormSilu":       {func() { GroupNormSilu(img, 3, two, two, 1e-5, GroupNormSiluOptions{}) }, "4 channels are not divisible by 3 groups"},
		"DiffusionLosses": {func() {
			DiffusionLosses(img, img, img, zeros(3, LossColumns), true, false)
		}, "rows [3, 5] do not fit 1 images"},
		"DiffusionQSample": {func() {
			DiffusionQSample(img, zeros(1, LossColumns), PhiloxKey{})
		}, "rows [1, 5] do not fit 1 images"},
		"DiffusionReverseStep": {func() {
			DiffusionReverseStep(zeros(1, 12, 3, 3), img, zeros(1, ReverseStepColumns), ReverseStepOptions{})
		}, "the network's [1, 12, 3, 3] does not fit images [1, 4, 3, 3]"},
		"ResidualAdd":               {func() { ResidualAdd(img, img, two) }, "a bias CPUFloatType[2] does not fit 4 channels"},
		"Tensor.LogSoftmax":         {func() { two.LogSoftmax(1) }, "Dimension out of range"},
		"NllLoss":                   {func() { NllLoss(square, FromInt64s([]int64{0, 2})) }, "Target 2 is out of bounds"},
		"ScaledDotProductAttention": {func() { ScaledDotProductAttention(two, two, two) }, "at least 2 dimensional"},
		"SelfAttention":             {func() { SelfAttention(zeros(1, 2, 8), 2) }, "8 channels are not divisible by 3 x 2 heads"},
		"Embedding":                 {func() { Embedding(square, FromInt64s([]int64{2})) }, "index out of range"},
		"MaxPool2d":                 {func() { MaxPool2d(img, []int64{5}, one, []int64{0}, one, false) }, "Output size is too small"},
		"Eigh":                      {func() { Eigh(two) }, "must have at least 2 dimensions"},
		"AvgPool2d":                 {func() { AvgPool2d(img, []int64{5}, one, []int64{0}, true) }, "Output size is too small"},
		"AdaptiveAvgPool2d":         {func() { AdaptiveAvgPool2d(two, one) }, "Dimension out of range"},
		"UpsampleNearest2d":         {func() { UpsampleNearest2d(img, 0, 1) }, "Input and output sizes should be greater than 0"},
		"UpsampleBilinear2d":        {func() { UpsampleBilinear2d(two, 2, 2) }, "equals to 4"},
		"UpsampleWeight":            {func() { UpsampleWeight(square, Float) }, "is [O, I, 3, 3], not [2, 2]"},
		"UpsampleConv2d":            {func() { UpsampleConv2d(img, img, two) }, "do not fit [1, 4, 3, 3]"},

		// gradients
		"Tensor.SetRequiresGrad": {func() { FromInt64s(one).SetRequiresGrad(true) }, "Only Tensors of floating point"},
		"Tensor.RequiresGrad":    {func() { none.RequiresGrad() }, "undefined"},
		"Tensor.Detach":          {func() { none.Detach() }, "undefined"},
		"Tensor.KeepGradLayout":  {func() { none.KeepGradLayout() }, "undefined"},
		"Tensor.Grad":            {func() { none.Grad() }, "undefined"},
		"Tensor.SetGrad":         {func() { leaf.SetGrad(three) }, "a gradient of CPUFloatType[3] on cpu for a tensor of CPUFloatType[2] on cpu"},
		"Tensor.Backward":        {func() { leaf.Mul(two).Backward() }, "grad can be implicitly created only for scalar outputs"},
		"Tensor.BackwardWith":    {func() { leaf.Mul(two).BackwardWith(three) }, "got [3] but expected shape compatible with [2]"},
		"ZeroGrads":              {func() { ZeroGrads([]Tensor{none}) }, "undefined"},

		// lists and optimizers
		"ForeachCastTo": {func() { ForeachCastTo([]Tensor{two, two.CastTo(Double)}, BFloat16) }, "a list of CPUFloatType on cpu contains a CPUDoubleType"},
		"ForeachAddI":   {func() { ForeachAddI([]Tensor{two}, nil, 1) }, "lists of 1 and 0 tensors"},
		"ForeachMulI":   {func() { ForeachMulI([]Tensor{two}, three) }, "scalar tensor expected to be 0 dim"},
		"ForeachCopyI":  {func() { ForeachCopyI([]Tensor{two}, []Tensor{three}) }, mismatch},
		"TotalNorm":     {func() { TotalNorm(nil) }, "the total norm of no tensors"},
		"Optimizer.SetLRFrom": {func() {
			opt := AdamW(AdamWOptions{})
			opt.AddParameters([]Tensor{leaf})
			opt.SetLRFrom(two)
			opt.Step()
		}, "the learning rate is CPUFloatType[2], not one Double"},
		"Optimizer.SetWorkingWeights": {func() {
			opt := AdamW(AdamWOptions{})
			opt.AddParameters([]Tensor{leaf})
			opt.SetWorkingWeights([]Tensor{two, two})
		}, "lists of 1 and 2 tensors"},
		"Optimizer.SetGradScale": {func() {
			opt := AdamW(AdamWOptions{})
			opt.AddParameters([]Tensor{leaf})
			opt.SetGradScale(two)
			opt.Step()
		}, "the gradient scale is CPUFloatType[2], not one Float"},
		"Optimizer.Gradient": {func() {
			opt, copied := AdamW(AdamWOptions{}), leaf.Detach().CastTo(BFloat16)
			opt.AddParameters([]Tensor{leaf})
			opt.SetWorkingWeights([]Tensor{copied})
			leaf.SetGrad(ZerosLike(leaf.Detach()))
			defer leaf.SetGrad(none)
			copied.SetGrad(ZerosLike(copied))
			opt.Gradient(0)
		}, "parameter 0 and its working weight both have a gradient"},
		"Optimizer.Gradients": {func() {
			opt := AdamW(AdamWOptions{})
			opt.AddParameters([]Tensor{none})
			opt.Gradients()
		}, "undefined"},
		"ClipCoefficient": {func() { ClipCoefficient(none, 1) }, "undefined"},
		"Optimizer.Step": {func() {
			opt := AdamW(AdamWOptions{})
			opt.AddParameters([]Tensor{none})
			opt.Step()
		}, "undefined"},
		"Optimizer.StepUnless": {func() {
			opt := AdamW(AdamWOptions{})
			opt.AddParameters([]Tensor{leaf})
			opt.StepUnless(two)
		}, "the skip flag is CPUFloatType[2], not one Float"},
		"Optimizer.ZeroGrad": {func() {
			opt := AdamW(AdamWOptions{})
			opt.AddParameters([]Tensor{none})
			opt.ZeroGrad()
		}, "undefined"},
		"Optimizer.State": {func() { AdamW(AdamWOptions{}).State() }, "no parameters"},
		"Optimizer.SetState": {func() {
			opt := AdamW(AdamWOptions{})
			opt.AddParameters([]Tensor{leaf})
			opt.SetState([]Tensor{two}, []Tensor{three}, 1)
		}, mismatch},

		// random numbers
		"NewGenerator":         {func() { NewGenerator(nowhere, 1) }, "there is no device type 7"},
		"Tensor.UniformI":      {func() { two.UniformI(1, 0, generator) }, "expects to return a [from, to) range"},
		"Tensor.NormalI":       {func() { two.NormalI(0, -1, generator) }, "normal expects std >= 0.0"},
		"PhiloxNormal":         {func() { PhiloxNormal(Device{}, Float, PhiloxKey{}, -1) }, "negative dimension -1"},
		"PhiloxUniform":        {func() { PhiloxUniform(Device{}, -1, PhiloxKey{}, 1) }, "there is no dtype -1"},
		"Tensor.PhiloxDropout": {func() { two.PhiloxDropout(1, PhiloxKey{}) }, "the dropout rate 1 is not in [0, 1)"},

		// GPUs
		"CUDASynchronize":    {func() { CUDASynchronize(Device{}) }, "cpu is not a GPU"},
		"GetCUDAProperties":  {func() { GetCUDAProperties(Device{Type: CUDA, Index: 127}) }, noGPU},
		"GetCUDAMemoryStats": {func() { GetCUDAMemoryStats(Device{Type: CUDA, Index: 127}) }, noGPU},
		"Graph.Run":          {func() { NewGraph(Device{}, func() { none.Detach() }).Run() }, "undefined"},

		// properties, copies and conversions
		"Tensor.To":             {func() { two.To(nowhere) }, "there is no device type 7"},
		"Tensor.CUDA":           {func() { two.CUDA(nowhere, true) }, "there is no device type 7"},
		"Tensor.CastTo":         {func() { two.CastTo(12) }, "there is no dtype 12"},
		"Tensor.ChannelsLast":   {func() { two.ChannelsLast() }, "required rank 4 tensor to use channels_last format"},
		"Tensor.Contiguous":     {func() { none.Contiguous() }, "undefined"},
		"Tensor.Clone":          {func() { none.Clone() }, "undefined"},
		"Tensor.PinMemory":      {func() { none.PinMemory() }, "undefined"},
		"Tensor.CopyI":          {func() { two.CopyI(three) }, "must match the size of tensor"},
		"Tensor.PT":             {func() { none.PT() }, "undefined"},
		"Tensor.Float64":        {func() { two.Float64() }, "a Tensor with 2 elements cannot be converted to Scalar"},
		"Tensor.Bytes":          {func() { none.Bytes() }, "undefined"},
		"Tensor.Float32s":       {func() { none.Float32s() }, "undefined"},
		"Tensor.Float64s":       {func() { none.Float64s() }, "undefined"},
		"Tensor.Int64s":         {func() { none.Int64s() }, "undefined"},
		"Tensor.Uint8s":         {func() { none.Uint8s() }, "undefined"},
		"Tensor.Numel":          {func() { none.Numel() }, "undefined"},
		"Tensor.Shape":          {func() { none.Shape() }, "undefined"},
		"Tensor.Dtype":          {func() { none.Dtype() }, "undefined"},
		"Tensor.Device":         {func() { none.Device() }, "undefined"},
		"Configure":             {func() { Configure(Settings{Threads: -1}) }, "an operator needs at least one thread"},
		"Tensor.IsChannelsLast": {func() { none.IsChannelsLast() }, "undefined"},

		// several processes
		"NewRendezvous":                {func() { NewRendezvous(ProcessGroupOptions{Rank: 2, WorldSize: 2}) }, "there is no process 2 of 2"},
		"Rendezvous.Registered":        {func() { left.Registered([]int32{0}) }, "the group is closed"},
		"Rendezvous.Connect":           {func() { left.Connect() }, "the group is closed"},
		"ProcessGroup.GlooReason":      {func() { closed.GlooReason() }, "the group is closed"},
		"ProcessGroup.UseGPU":          {func() { closed.UseGPU(Device{Type: CUDA}) }, "the group is closed"},
		"ProcessGroup.AllReduceAsyncI": {func() { closed.AllReduceAsyncI([]Tensor{two}) }, "the group is closed"},
		"ProcessGroup.SetTimeout":      {func() { closed.SetTimeout(0) }, "the group is closed"},
		"ProcessGroup.Wait":            {func() { closed.Wait() }, "the group is closed"},
		"BackwardAll":                  {func() { BackwardAll([]Tensor{two}, []Tensor{two}) }, "does not require grad"},
		"ProcessGroup.BroadcastI":      {func() { closed.BroadcastI([]Tensor{two}, 0) }, "the group is closed"},
		"ProcessGroup.AllGather":       {func() { closed.AllGather(two) }, "the group is closed"},
	}
}

type refusal struct {
	call func()
	says string
}

// neverRefuse lists the exported functions that no argument can make fail, or that
// return an error; they are tested elsewhere.
var neverRefuse = map[string]string{
	"Error.Error":             "formats",
	"NewGraph":                "only stores its arguments",
	"Graph.Err":               "no argument",
	"Graph.Close":             "frees",
	"Graph.Alternates":        "shares a counter",
	"DType.String":            "formats",
	"Device.String":           "formats",
	"Tensor.String":           "formats the undefined tensor too",
	"Tensor.Defined":          "reports whether there is a tensor",
	"Tensor.Free":             "ignores the undefined tensor",
	"Tensor.MoveOut":          "ignores the undefined tensor",
	"Tensor.Unscoped":         "ignores the undefined tensor",
	"ParseDevice":             "returns an error",
	"LoadLibrary":             "returns an error",
	"LoadCUDA":                "returns an error",
	"CheckCUDADevice":         "returns an error",
	"CUDAProperties.AtLeast":  "compares",
	"CUDAVersion.String":      "formats",
	"DriverError.Error":       "formats",
	"CapabilityError.Error":   "formats",
	"Try":                     "returns an error",
	"Run":                     "runs Go",
	"Scope":                   "runs Go",
	"NoGrad":                  "runs Go",
	"EnableGrad":              "runs Go",
	"IsGradEnabled":           "no argument",
	"GC":                      "no argument",
	"FinishGC":                "no argument",
	"LiveTensors":             "no argument",
	"CurrentSettings":         "no argument",
	"GetCPUMemoryStats":       "no argument",
	"EmptyCPUCache":           "no argument",
	"CPUCapability":           "no argument",
	"CPUHasBFloat16":          "no argument",
	"CUDADeviceCount":         "no argument",
	"AbortNCCL":               "no argument",
	"CheckNCCL":               "no argument",
	"EmptyCUDACache":          "no argument",
	"CUDAProfilerStart":       "no argument",
	"CUDAProfilerStop":        "no argument",
	"AdamW":                   "only stores its arguments",
	"Optimizer.AddParameters": "only stores its arguments",
	"Optimizer.AddEMA":        "only stores its arguments",
	"Optimizer.Close":         "frees",
	"Rendezvous.Close":        "frees",
	"ProcessGroup.Close":      "frees",
}

func TestRefusals(t *testing.T) {
	for name, r := range refusals() {
		t.Run(name, func(t *testing.T) {
			err := mustFail(t, r.call)
			if !strings.Contains(err.Message, r.says) {
				t.Errorf("the message lacks %q: %s", r.says, err.Message)
			}
			if err.Op == "" || !strings.Contains(err.Error(), err.Op) {
				t.Errorf("no operator is named: %+v", err)
			}
			for _, stack := range []string{"frame #", "Exception raised from", ".cpp:", "0x", "libtorch_cpu.so"} {
				if strings.Contains(err.Message, stack) {
					t.Errorf("the message has a C++ stack (%q): %s", stack, err.Message)
				}
			}
		})
	}
}

// TestRefusalsCoverEverything checks that the tables above list every exported function
// of the package, and no other.
func TestRefusalsCoverEverything(t *testing.T) {
	exported := exportedFunctions(t)
	table := refusals()
	for name := range exported {
		_, refused := table[name]
		_, never := neverRefuse[name]
		if refused == never {
			t.Errorf("%s: in the table of refusals %v, in neverRefuse %v: it belongs in one of them", name, refused, never)
		}
	}
	for name := range table {
		if !exported[name] {
			t.Errorf("%s is in the table of refusals, but not in the package", name)
		}
	}
	for name := range neverRefuse {
		if !exported[name] {
			t.Errorf("%s is in neverRefuse, but not in the package", name)
		}
	}
}

func exportedFunctions(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	for _, f := range packageFunctions(t) {
		if f.Name.IsExported() {
			names[functionName(f)] = true
		}
	}
	return names
}

// TestDeadTensors calls every method of Tensor on a tensor that is undefined,
// one that was freed and one whose scope has ended.
func TestDeadTensors(t *testing.T) {
	freed := zeros(2)
	freed.Free()
	var ended Tensor
	Scope(func() { ended = zeros(2) })
	for _, dead := range []struct {
		name, says string
		tensor     Tensor
		allowed    []string // methods that do not fail
	}{
		{"undefined", "undefined", Tensor{}, []string{"Defined", "Free", "MoveOut", "String", "Unscoped"}},
		{"freed", "is freed", freed, []string{"Defined", "Free", "MoveOut", "Unscoped"}},
		{"out of scope", "is freed", ended, []string{"Defined", "Free"}},
	} {
		allowed := map[string]bool{}
		for _, name := range dead.allowed {
			allowed[name] = true
		}
		v := reflect.ValueOf(dead.tensor)
		for i := range v.NumMethod() {
			name := v.Type().Method(i).Name
			err := Try(func() { callWithZeros(v.Method(i)) })
			var e *Error
			switch {
			case allowed[name]:
				if err != nil {
					t.Errorf("%s of an %s tensor: %v", name, dead.name, err)
				}
			case !errors.As(err, &e) || !strings.Contains(e.Message, dead.says):
				t.Errorf("%s of a tensor that is %s: the error is %v", name, dead.name, err)
			}
		}
	}
}

// callWithZeros calls a method with the zero value of each argument, and with live
// tensors for tensors, so that only the receiver is invalid.
func callWithZeros(method reflect.Value) {
	var args []reflect.Value
	for i := range method.Type().NumIn() {
		if method.Type().IsVariadic() && i == method.Type().NumIn()-1 {
			break
		}
		in := method.Type().In(i)
		if in == reflect.TypeFor[Tensor]() {
			args = append(args, reflect.ValueOf(zeros(2)))
		} else {
			args = append(args, reflect.Zero(in))
		}
	}
	method.Call(args)
}
