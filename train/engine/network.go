package engine

import (
	"fmt"

	"github.com/wangkuiyi/gotorch"
	"github.com/wangkuiyi/gotorch/pt"

	"iddpm/model"
)

// Network is what an engine trains: a [*model.UNet], or a [*model.Classifier].
type Network interface {
	fmt.Stringer
	Parameters() []*model.Parameter
	Tensors() []gotorch.Tensor
	NumParameters() int64
	To(gotorch.Device)
	SetRequiresGrad(bool)
	WorkingWeights(dtype gotorch.DType) map[*model.Parameter]gotorch.Tensor
	WithWeights(weights []gotorch.Tensor, f func())
	StateDict() *pt.Dict
	PackStateDict([]gotorch.Tensor) *pt.Dict
	UnpackStateDict(*pt.Dict, []gotorch.Tensor) error
	LoadStateDict(*pt.Dict) error
	Mismatches(*pt.Dict) []*model.Mismatch
	// StepBytes and WorkingWeightBytes are the memory of training: see [model.UNet].
	StepBytes(model.StepMemory) int64
	WorkingWeightBytes() int64
	Free()
}

// Plan builds the network of o without tensors, for its structure and memory.
func (o Options) Plan() (Network, error) {
	if o.Classifier == nil {
		return o.Model.Plan()
	}
	return o.Classifier.Plan()
}

// newNetwork initialises the network that o describes.
func (o Options) newNetwork(seed uint64) (Network, error) {
	if o.Classifier == nil {
		u, err := o.Model.UNet()
		if err != nil {
			return nil, err
		}
		return model.New(u, seed)
	}
	e, err := o.Classifier.Encoder()
	if err != nil {
		return nil, err
	}
	return model.NewClassifier(e, seed)
}
