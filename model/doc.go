// Package model is the paper's network: the UNet of Nichol & Dhariwal 2021, with the
// parameter names of the reference's PyTorch state_dict.
//
// config.go has the arguments. Each layer has a file: embedding.go, resblock.go, attention.go,
// resample.go, made of those of layers.go and of the parameters of params.go. encoder.go has the half
// that the denoiser (unet.go, forward.go) and the classifier (classifier.go, pooling.go) share, with
// what all networks answer in summary.go. segments.go runs the backward pass in segments (gradient
// checkpointing); statedict.go reads and writes weights; products.go and memory.go count operations and
// memory. A layer's path in the builder is its path in the state_dict.
//
// Activations are channels-last (NHWC) between the first and the last convolution.
package model
