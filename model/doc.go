// Package model is the paper's network: the UNet of Nichol & Dhariwal 2021, with the
// parameter names of the reference's PyTorch state_dict.
//
// The files, each of which uses only those before it:
//
//  1. config.go: configurations. params.go: parameters, and the builder that makes them.
//  2. segments.go: the backward pass in segments (gradient checkpointing). pass.go: what all
//     layers of a forward pass share.
//  3. resample.go: changes of a feature map's size. layers.go: convolution, linear layer and
//     norm. embedding.go, attention.go, resblock.go: a layer each.
//  4. encoder.go: the half that denoiser and classifier share. summary.go: its parameters,
//     weights.go: these in the compute dtype; statedict.go reads and writes them.
//  5. unet.go, forward.go: the denoiser.
//  6. products.go, memory.go: operations and memory of a step.
//  7. pooling.go, classifier.go, classifier_costs.go: the classifier.
//
// A layer's path in the builder is its path in the state_dict.
//
// Activations are channels-last (NHWC) between the first and the last convolution.
package model
