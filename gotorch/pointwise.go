package gotorch

// #include "iddpm.h"
import "C"

import "runtime"

func binary(op string, a, b Tensor, f func(a, b C.gt_tensor) C.gt_result) Tensor {
	r := f(a.defined(op), b.defined(op))
	runtime.KeepAlive(a.owner)
	runtime.KeepAlive(b.owner)
	return resultOf(op, r)
}

func binaryI(op string, a, b Tensor, f func(a, b C.gt_tensor) C.gt_error) Tensor {
	check(op, f(a.defined(op), b.defined(op)))
	runtime.KeepAlive(a.owner)
	runtime.KeepAlive(b.owner)
	return a
}

// Add returns t + alpha other, broadcast as torch does.
func (t Tensor) Add(other Tensor, alpha float64) Tensor {
	return binary("Add", t, other, func(a, b C.gt_tensor) C.gt_result { return C.gt_add(a, b, C.double(alpha)) })
}

// AddI adds alpha other to t in place.
func (t Tensor) AddI(other Tensor, alpha float64) Tensor {
	return binaryI("AddI", t, other, func(a, b C.gt_tensor) C.gt_error { return C.gt_add_(a, b, C.double(alpha)) })
}

// Sub returns t - alpha other, broadcast as torch does.
func (t Tensor) Sub(other Tensor, alpha float64) Tensor {
	return binary("Sub", t, other, func(a, b C.gt_tensor) C.gt_result { return C.gt_sub(a, b, C.double(alpha)) })
}

// SubI subtracts alpha other from t in place.
func (t Tensor) SubI(other Tensor, alpha float64) Tensor {
	return binaryI("SubI", t, other, func(a, b C.gt_tensor) C.gt_error { return C.gt_sub_(a, b, C.double(alpha)) })
}

// Mul returns t other, element by element.
func (t Tensor) Mul(other Tensor) Tensor {
	return binary("Mul", t, other, func(a, b C.gt_tensor) C.gt_result { return C.gt_mul(a, b) })
}

// Div returns t / other, element by element.
func (t Tensor) Div(other Tensor) Tensor {
	return binary("Div", t, other, func(a, b C.gt_tensor) C.gt_result { return C.gt_div(a, b) })
}

// DivI divides t by other in place.
func (t Tensor) DivI(other Tensor) Tensor {
	return binaryI("DivI", t, other, func(a, b C.gt_tensor) C.gt_error { return C.gt_div_(a, b) })
}

// AddScalar returns t + v.
func (t Tensor) AddScalar(v float64) Tensor {
	r := C.gt_add_scalar(t.defined("AddScalar"), C.double(v))
	runtime.KeepAlive(t.owner)
	return resultOf("AddScalar", r)
}

// AddScalarI adds v to t in place.
func (t Tensor) AddScalarI(v float64) Tensor {
	check("AddScalarI", C.gt_add_scalar_(t.defined("AddScalarI"), C.double(v)))
	runtime.KeepAlive(t.owner)
	return t
}

// MulScalar returns v t.
func (t Tensor) MulScalar(v float64) Tensor {
	r := C.gt_mul_scalar(t.defined("MulScalar"), C.double(v))
	runtime.KeepAlive(t.owner)
	return resultOf("MulScalar", r)
}

// MulScalarI multiplies t by v in place.
func (t Tensor) MulScalarI(v float64) Tensor {
	check("MulScalarI", C.gt_mul_scalar_(t.defined("MulScalarI"), C.double(v)))
	runtime.KeepAlive(t.owner)
	return t
}

// PowScalar returns t to the power v.
func (t Tensor) PowScalar(v float64) Tensor {
	r := C.gt_pow_scalar(t.defined("PowScalar"), C.double(v))
	runtime.KeepAlive(t.owner)
	return resultOf("PowScalar", r)
}

// Addcmul returns t + value b c.
func (t Tensor) Addcmul(b, c Tensor, value float64) Tensor {
	r := C.gt_addcmul(t.defined("Addcmul"), b.defined("Addcmul"), c.defined("Addcmul"), C.double(value))
	runtime.KeepAlive(t.owner)
	runtime.KeepAlive(b.owner)
	runtime.KeepAlive(c.owner)
	return resultOf("Addcmul", r)
}

// Clamp returns t with every element brought into [lo, hi].
func (t Tensor) Clamp(lo, hi float64) Tensor {
	r := C.gt_clamp(t.defined("Clamp"), C.double(lo), C.double(hi))
	runtime.KeepAlive(t.owner)
	return resultOf("Clamp", r)
}

// ClampMin returns t with every element below lo replaced by lo.
func (t Tensor) ClampMin(lo float64) Tensor {
	r := C.gt_clamp_min(t.defined("ClampMin"), C.double(lo))
	runtime.KeepAlive(t.owner)
	return resultOf("ClampMin", r)
}

// Where returns a where condition holds, else b.
func Where(condition, a, b Tensor) Tensor {
	r := C.gt_where(condition.defined("Where"), a.defined("Where"), b.defined("Where"))
	runtime.KeepAlive(condition.owner)
	runtime.KeepAlive(a.owner)
	runtime.KeepAlive(b.owner)
	return resultOf("Where", r)
}

// FillI sets every element of t to v.
func (t Tensor) FillI(v float64) {
	check("FillI", C.gt_fill_(t.defined("FillI"), C.double(v)))
	runtime.KeepAlive(t.owner)
}

// The order is that of the table in csrc/pointwise.cc.
const (
	unaryExp = iota
	unaryLog
	unarySqrt
	unaryNeg
	unaryAbs
	unaryTanh
	unarySigmoid
	unarySilu
	unaryRelu
	unaryCos
	unarySin
	unaryIsFinite
)

func unary(name string, op C.int32_t, t Tensor) Tensor {
	r := C.gt_unary(op, t.defined(name))
	runtime.KeepAlive(t.owner)
	return resultOf(name, r)
}

// Exp returns e to the power t.
func (t Tensor) Exp() Tensor { return unary("Exp", unaryExp, t) }

// Log returns the natural logarithm of t.
func (t Tensor) Log() Tensor { return unary("Log", unaryLog, t) }

// Sqrt returns the square root of t.
func (t Tensor) Sqrt() Tensor { return unary("Sqrt", unarySqrt, t) }

// Neg returns -t.
func (t Tensor) Neg() Tensor { return unary("Neg", unaryNeg, t) }

// Abs returns |t|.
func (t Tensor) Abs() Tensor { return unary("Abs", unaryAbs, t) }

// Tanh returns the hyperbolic tangent of t.
func (t Tensor) Tanh() Tensor { return unary("Tanh", unaryTanh, t) }

// Sigmoid returns 1 / (1 + exp(-t)).
func (t Tensor) Sigmoid() Tensor { return unary("Sigmoid", unarySigmoid, t) }

// Silu returns t sigmoid(t).
func (t Tensor) Silu() Tensor { return unary("Silu", unarySilu, t) }

// Relu returns max(t, 0).
func (t Tensor) Relu() Tensor { return unary("Relu", unaryRelu, t) }

// Cos returns the cosine of t.
func (t Tensor) Cos() Tensor { return unary("Cos", unaryCos, t) }

// Sin returns the sine of t.
func (t Tensor) Sin() Tensor { return unary("Sin", unarySin, t) }

// IsFinite returns, as Bool, which elements are neither infinite nor NaN.
func (t Tensor) IsFinite() Tensor { return unary("IsFinite", unaryIsFinite, t) }

// The order is that of the switch in csrc/pointwise.cc.
const (
	compareEq = iota
	compareLess
	compareGreater
)

func compareScalar(name string, op C.int32_t, t Tensor, v float64) Tensor {
	r := C.gt_compare_scalar(op, t.defined(name), C.double(v))
	runtime.KeepAlive(t.owner)
	return resultOf(name, r)
}

// Less returns, as Bool, where t is below other.
func (t Tensor) Less(other Tensor) Tensor {
	return binary("Less", t, other, func(a, b C.gt_tensor) C.gt_result { return C.gt_less(a, b) })
}

// EqScalar returns, as Bool, where t equals v.
func (t Tensor) EqScalar(v float64) Tensor { return compareScalar("EqScalar", compareEq, t, v) }

// LessScalar returns, as Bool, where t is below v.
func (t Tensor) LessScalar(v float64) Tensor { return compareScalar("LessScalar", compareLess, t, v) }

// GreaterScalar returns, as Bool, where t is above v.
func (t Tensor) GreaterScalar(v float64) Tensor {
	return compareScalar("GreaterScalar", compareGreater, t, v)
}
