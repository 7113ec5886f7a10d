// Package model is the network of the paper: the UNet of Nichol & Dhariwal
// 2021, as the reference builds it, with the names of its PyTorch state_dict.
//
// A file per layer: embedding.go, resblock.go, attention.go, resample.go.
// unet.go puts them together, forward.go runs them, segments.go runs the backward
// pass in segments (gradient checkpointing), statedict.go reads and writes weights. The
// path of a layer in the builder is its path in the state_dict.
//
// Activations are channels-last from the first convolution to the last.
package model
