// Package streams is the registry of the random number streams of iddpm.
//
// Every random number is a function of a seed, a stream, and where the number is
// used; no generator keeps state. The stream separates the uses of one seed, so two
// uses never see the same numbers. A seed that is given to `iddpm sample --seed`, or to a
// training run, names the same result in every version: a value below never changes and
// is never used again for something else.
//
// There are two generators. Tensors use Philox ([github.com/wangkuiyi/gotorch.PhiloxKey]),
// the order of the data uses PCG (math/rand/v2), and their streams are independent.
package streams

// Streams of Philox. The "step" of the key and its row ("image") differ by use.
const (
	// Timesteps is the uniform numbers from which a training step chooses its timesteps.
	// Step: the optimizer step. Image: the index in the global batch.
	Timesteps uint32 = 1
	// TrainingNoise is epsilon of x_t in a training step. Step: the optimizer step.
	// Image: the index in the global batch.
	TrainingNoise uint32 = 2
	// ClassDropout is the uniform numbers that decide which images of a training step have the
	// null class. Step: the optimizer step. Image: the index in the global batch.
	ClassDropout uint32 = 3

	// SampleNoise is the noise of sampling and of the likelihood. Step: the timestep t
	// of the (respaced) process, or 2^32-1 for x_T. Image: the index of the sample, or of
	// the evaluated image.
	SampleNoise uint32 = 16
	// SampleClass is the uniform numbers from which classes of samples are chosen.
	// Step: 0. Image: the index of the sample.
	SampleClass uint32 = 17
	// UpsampleNoise is SampleNoise of super-resolution networks. Low-resolution images may
	// be samples of the same seed, whose noise must not repeat in the upsampled ones.
	UpsampleNoise uint32 = 18

	// InpaintNoise is the noise of inpainting, whose steps repeat timesteps. Step: 3 i of the
	// i-th step for its own noise, + 1 for that of the known pixels after it, + 2 for that of
	// a jump back. Image: the index of the sample.
	InpaintNoise uint32 = 19

	// Dropout is the first stream of dropout masks: layer i uses Dropout + i. All other
	// streams are below it. Step: the optimizer step. Image: the index in the global batch.
	Dropout uint32 = 1 << 16
)

// Streams of PCG, which the data loader uses on the host.
const (
	DataOrder    uint64 = 1 // the order of the images in an epoch; keyed by the epoch
	Augmentation uint64 = 2 // random crops and flips; keyed by the position in the sequence of images
)
