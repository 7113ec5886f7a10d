package gotorch

// These functions do not keep the pointers in their arguments and never call
// back into Go. With these directives the compiler keeps shapes and results on
// the stack, so an operator inside a Scope allocates nothing on Go's heap.

// #cgo noescape gt_empty
// #cgo nocallback gt_empty
// #cgo noescape gt_zeros
// #cgo nocallback gt_zeros
// #cgo noescape gt_full
// #cgo nocallback gt_full
// #cgo noescape gt_from_bytes
// #cgo nocallback gt_from_bytes
// #cgo noescape gt_to_bytes
// #cgo nocallback gt_to_bytes
// #cgo noescape gt_shape
// #cgo nocallback gt_shape
// #cgo noescape gt_item
// #cgo nocallback gt_item
// #cgo noescape gt_sum
// #cgo nocallback gt_sum
// #cgo noescape gt_mean
// #cgo nocallback gt_mean
// #cgo noescape gt_equal
// #cgo nocallback gt_equal
// #cgo noescape gt_view
// #cgo nocallback gt_view
// #cgo noescape gt_reshape
// #cgo nocallback gt_reshape
// #cgo noescape gt_permute
// #cgo nocallback gt_permute
// #cgo noescape gt_expand
// #cgo nocallback gt_expand
// #cgo noescape gt_conv2d
// #cgo nocallback gt_conv2d
// #cgo noescape gt_philox_normal
// #cgo nocallback gt_philox_normal
// #cgo noescape gt_philox_uniform
// #cgo nocallback gt_philox_uniform
// #cgo noescape gt_thread
// #cgo nocallback gt_thread
// #include "iddpm.h"
// #include "loader.h"
import "C"
