package pt

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/wangkuiyi/gotorch/internal/strided"
	"github.com/wangkuiyi/gotorch/pickle"
)

// While a pickle runs, lists and tuples are the machine's, so that they can be filled
// late and told apart; finish makes the exported types of them.
type (
	list   = pickle.List
	tuple  = pickle.Tuple
	global = pickle.Global // an allowed one, such as "torch.FloatStorage"
)

// unpickle runs the pickle that begins at r's first byte, and returns its unfinished value
// and its length. It reads at most size bytes from r.
func unpickle(r io.Reader, size int64, persistent func(id []any) (any, error)) (any, int64, error) {
	u := pickle.Unpickler{FindClass: findClass, Call: call, SetState: setState, PersistentLoad: persistent}
	return u.Load(r, size)
}

// storage is memory that tensors view. Its data follows the pickle.
type storage struct {
	key   string
	count int64 // elements
	size  int64 // bytes
	data  []byte
}

// storageRef is the object of a persistent id: a storage with an element type.
type storageRef struct {
	*storage
	dtype DType
	first int64 // byte of the storage where the view begins
	size  int64 // bytes of the view
}

// view is a tensor before its storage is read.
type view struct {
	from           storageRef
	offset         int64 // elements
	shape, strides []int64
	tensor         *Tensor // filled in by fill
}

// TypeName returns Python's name of the type: v becomes a Tensor.
func (v *view) TypeName() string { return "Tensor" }

func (r storageRef) TypeName() string { return "storage" }

// storages collects the storages that a pickle names, in the order of their first
// mention.
type storages struct {
	byKey map[string]*storage
	order []*storage
}

// persistent reads a persistent id: ("storage", class, key, location, count) and,
// in the legacy format, a view of it or None.
func (s *storages) persistent(id []any) (any, error) {
	if len(id) != 5 && len(id) != 6 {
		return nil, fmt.Errorf("a persistent id of %d parts is not a storage's", len(id))
	}
	class, ok1 := id[1].(global)
	key, ok2 := id[2].(string)
	count, ok3 := id[4].(int64)
	if id[0] != "storage" || !ok1 || !ok2 || !ok3 {
		return nil, fmt.Errorf("a persistent id that is not a storage's (it begins with %.20q)", fmt.Sprint(id[0]))
	}
	dtype, ok := storageType(class)
	if !ok {
		return nil, fmt.Errorf("storage %q has the type %s", key, class)
	}
	ref, err := s.ref(key, dtype, count)
	if err != nil || len(id) == 5 || id[5] == nil {
		return ref, err
	}
	return ref.narrow(id[5])
}

func (s *storages) ref(key string, dtype DType, count int64) (storageRef, error) {
	size, ok := strided.Bytes([]int64{count}, dtype.Size())
	if !ok {
		return storageRef{}, fmt.Errorf("storage %q claims %d elements", key, count)
	}
	known := s.byKey[key]
	if known == nil {
		known = &storage{key: key, count: count, size: size}
		s.byKey[key] = known
		s.order = append(s.order, known)
	}
	if known.size != size {
		return storageRef{}, fmt.Errorf("storage %q has both %d and %d bytes", key, known.size, size)
	}
	return storageRef{known, dtype, 0, size}, nil
}

// narrow applies the (key, offset, count) of a view, which PyTorch 0.x wrote.
func (r storageRef) narrow(metadata any) (any, error) {
	t, ok := metadata.(*tuple)
	if !ok || len(t.Items) != 3 {
		return nil, errors.New("a storage's view is not a tuple of three")
	}
	offset, ok1 := t.Items[1].(int64)
	count, ok2 := t.Items[2].(int64)
	n := r.size / r.dtype.Size()
	if !ok1 || !ok2 || offset < 0 || count < 0 || offset > n || count > n-offset {
		return nil, fmt.Errorf("a view is outside storage %q", r.key)
	}
	r.first, r.size = offset*r.dtype.Size(), count*r.dtype.Size()
	return r, nil
}

// storageType reads "torch.FloatStorage" or, as PyTorch 0.x wrote for a tensor on
// a GPU, "torch.cuda.FloatStorage".
func storageType(class global) (DType, bool) {
	name := strings.TrimPrefix(strings.TrimPrefix(string(class), "torch."), "cuda.")
	for d := Float32; d <= Bool; d++ {
		if dtypes[d].storage == name {
			return d, true
		}
	}
	return 0, false
}

// dtypeOf reads "torch.float32".
func dtypeOf(name global) (DType, bool) {
	for d := Float32; d <= Bool; d++ {
		if "torch."+dtypes[d].name == string(name) {
			return d, true
		}
	}
	return 0, false
}

// functions are what a pickle may call.
var functions = map[global]func(args []any) (any, error){
	"collections.OrderedDict":                    orderedDict,
	"torch.Size":                                 size,
	"torch._utils._rebuild_tensor":               rebuildTensor,
	"torch._utils._rebuild_tensor_v2":            rebuildTensor,
	"torch._utils._rebuild_parameter":            rebuildParameter,
	"torch._utils._rebuild_parameter_with_state": rebuildParameter,
}

func allowed(name string) bool {
	if _, ok := functions[global(name)]; ok {
		return true
	}
	if !strings.HasPrefix(name, "torch.") {
		return false
	}
	_, isStorage := storageType(global(name))
	_, isDType := dtypeOf(global(name))
	return isStorage || isDType
}

func findClass(name string) error {
	if !allowed(name) {
		return fmt.Errorf("it refers to %s, which is not a type that a checkpoint needs; nothing of it was executed", name)
	}
	return nil
}

func call(name global, args []any) (any, error) {
	function, ok := functions[name]
	if !ok {
		return nil, errors.New("it cannot be called")
	}
	return function(args)
}

// setState drops an object's attributes. A state_dict has one, _metadata, the version
// of each module's parameters, which nothing here needs.
func setState(object, _ any) error {
	if d, ok := object.(*Dict); !ok || !d.Ordered {
		return fmt.Errorf("it sets attributes of a %s", TypeName(object))
	}
	return nil
}

// orderedDict is called without arguments, or in Python 2's pickles with a list of
// [key, value].
func orderedDict(args []any) (any, error) {
	d := &Dict{Ordered: true}
	if len(args) == 0 {
		return d, nil
	}
	pairs, ok := args[0].(*list)
	if !ok || len(args) != 1 {
		return nil, errors.New("its argument is not a list of pairs")
	}
	for _, p := range pairs.Items {
		pair, ok := p.(*list)
		if !ok || len(pair.Items) != 2 || !pickle.IsKey(pair.Items[0]) {
			return nil, errors.New("its argument is not a list of pairs")
		}
		d.Set(pair.Items[0], pair.Items[1])
	}
	return d, nil
}

func size(args []any) (any, error) {
	if len(args) == 1 {
		if t, ok := args[0].(*tuple); ok {
			return t, nil
		}
	}
	return nil, errors.New("its argument is not a tuple")
}

// rebuildParameter is called with a tensor, requires_grad, hooks and perhaps a
// state: a parameter is its tensor.
func rebuildParameter(args []any) (any, error) {
	if len(args) >= 3 && len(args) <= 4 {
		if v, ok := args[0].(*view); ok {
			return v, nil
		}
	}
	return nil, errors.New("its arguments are not a parameter's")
}

// rebuildTensor is called with a storage, an offset, a shape, strides and, in v2,
// requires_grad, hooks and perhaps metadata, which do not affect the values.
func rebuildTensor(args []any) (any, error) {
	if len(args) < 4 || len(args) > 7 {
		return nil, fmt.Errorf("%d arguments", len(args))
	}
	from, ok1 := args[0].(storageRef)
	offset, ok2 := args[1].(int64)
	shape, ok3 := integers(args[2])
	strides, ok4 := integers(args[3])
	if !ok1 || !ok2 || !ok3 || !ok4 {
		return nil, errors.New("its arguments are not a tensor's")
	}
	v := &view{from: from, offset: offset, shape: shape, strides: strides}
	return v, v.check()
}

// maxRank is far above the maximum of libtorch's kernels.
const maxRank = 64

// integers reads a tensor's shape or strides.
func integers(v any) ([]int64, bool) {
	t, ok := v.(*tuple)
	if !ok || len(t.Items) > maxRank {
		return nil, false
	}
	out := make([]int64, len(t.Items))
	for i, item := range t.Items {
		if out[i], ok = item.(int64); !ok {
			return nil, false
		}
	}
	return out, true
}

func (v *view) check() error {
	if len(v.shape) != len(v.strides) {
		return fmt.Errorf("%d dimensions and %d strides", len(v.shape), len(v.strides))
	}
	item := v.from.dtype.Size()
	if _, ok := strided.Bytes(v.shape, item); !ok {
		return fmt.Errorf("the shape %v is impossible", v.shape)
	}
	extent, ok := strided.Extent(v.shape, v.strides)
	count := v.from.size / item
	if !ok || v.offset < 0 || extent > count || extent > 0 && v.offset > count-extent {
		return fmt.Errorf("the shape %v with strides %v at offset %d does not fit storage %q of %d elements",
			v.shape, v.strides, v.offset, v.from.key, count)
	}
	return nil
}

// contiguous reports whether the elements are in C order without gaps. The stride of a
// dimension of size one is irrelevant.
func (v *view) contiguous() bool {
	step := int64(1)
	for i := len(v.shape) - 1; i >= 0; i-- {
		if v.shape[i] == 1 {
			continue
		}
		if v.strides[i] != step {
			return false
		}
		step *= v.shape[i]
	}
	return true
}

// size returns the bytes of the tensor's elements.
func (v *view) size() int64 {
	n, _ := strided.Bytes(v.shape, v.from.dtype.Size()) // rebuildTensor checked it
	return n
}

// fill sets the tensor's data from its storage's: a slice of it if possible, else a copy of
// the elements.
func (v *view) fill() {
	v.tensor.Data = []byte{}
	n := v.size()
	if n == 0 {
		return
	}
	first := v.from.first + v.offset*v.from.dtype.Size()
	src := v.from.data[first:]
	if v.contiguous() {
		v.tensor.Data = src[:n:n]
		return
	}
	v.tensor.Data = make([]byte, n)
	strided.Gather(v.tensor.Data, src, v.from.dtype.Size(), v.shape, v.strides)
}

// Limits of the finished object: a short pickle can make an exponentially large one by
// putting a list into another twice, that one into a third twice, and so on.
const (
	maxDepth = 100
	maxNodes = 16 << 20
)

var errTooDeep = fmt.Errorf("it is nested more than %d deep", maxDepth)

// finisher turns a pickle's values into those that the package exports.
type finisher struct {
	views []*view
	done  map[any]finished // by pointer
}

type finished struct {
	value  any
	nodes  int64 // of the tree below, shared ones counted repeatedly
	height int   // of that tree
	open   bool  // its parts are being finished
}

// finish returns the object and the tensors in it that still need their data.
func finish(v any) (any, []*view, error) {
	f := &finisher{done: map[any]finished{}}
	whole, err := f.value(v, 0)
	return whole.value, f.views, err
}

func (f *finisher) value(v any, depth int) (finished, error) {
	if depth > maxDepth {
		return finished{}, errTooDeep
	}
	switch v := v.(type) {
	case nil, bool, int64, float64, string:
		return finished{value: v, nodes: 1}, nil
	case global:
		if d, ok := dtypeOf(v); ok {
			return finished{value: d, nodes: 1}, nil
		}
		return finished{}, fmt.Errorf("it contains %s itself, which is not supported", v)
	case *list, *tuple, *Dict, *view:
		return f.shared(v, depth)
	}
	return finished{}, fmt.Errorf("it contains a bare %s, which is not supported", TypeName(v))
}

// shared finishes an object that may occur several times, but only once.
func (f *finisher) shared(v any, depth int) (finished, error) {
	known, met := f.done[v]
	if known.open {
		return finished{}, fmt.Errorf("a %s contains itself", TypeName(v))
	}
	if depth+known.height > maxDepth {
		return finished{}, errTooDeep
	}
	if met {
		return known, nil
	}
	f.done[v] = finished{open: true}
	result := finished{nodes: 1}
	var err error
	switch v := v.(type) {
	case *list:
		err = f.items(v.Items, depth, &result)
		result.value = v.Items
	case *tuple:
		err = f.items(v.Items, depth, &result)
		result.value = Tuple(v.Items)
	case *Dict:
		err = f.items(v.Values(), depth, &result)
		result.value = v
	case *view:
		v.tensor = &Tensor{DType: v.from.dtype, Shape: v.shape}
		f.views = append(f.views, v)
		result.value = v.tensor
	}
	f.done[v] = result
	return result, err
}

// items finishes a container's values in place.
func (f *finisher) items(items []any, depth int, whole *finished) error {
	for i, item := range items {
		part, err := f.value(item, depth+1)
		if err != nil {
			return err
		}
		items[i] = part.value
		whole.height = max(whole.height, part.height+1)
		if whole.nodes += part.nodes; whole.nodes > maxNodes {
			return fmt.Errorf("it contains more than %d objects", maxNodes)
		}
	}
	return nil
}
