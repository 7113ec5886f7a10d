// Package checkpoint reads and writes checkpoints: the state of a run, from which it resumes, and
// weights of any origin, which inference needs.
//
// The files, each of which uses only those below it:
//
//  1. load.go: what a file or a folder is. state.go: an engine's state as a checkpoint, and back.
//     reference.go: a run of the reference. posthoc.go: EMAs made from snapshots.
//  2. safetensors.go, diffusers.go, wrapped.go: the other formats. foreign.go: files that hold no
//     weights, or several networks.
//  3. identified.go, published.go, contradictions.go: the configuration of bare weights.
//  4. network.go: the network of a checkpoint. weights.go: which of its weights to use.
//  5. checkpoint.go: Checkpoint, and our own format, in the parts optimizer.go, timestep_sampler.go and
//     health.go, read by fields.go.
//  6. names.go, keys.go, files.go, snapshots.go, reference_names.go: the names of files and of what is
//     in them.
package checkpoint
