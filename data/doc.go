// Package data turns collections of images into batches of uint8 pixels. It
// knows no tensors.
//
// An image's walk, in the order of the files to read:
//
//  1. Open (dataset.go) finds out what the path names (source.go): a folder
//     (folder.go), a zip (zip.go), LSUN's database (lmdb.go), raw pixels (arrays.go) from an npz (npz.go) or from
//     CIFAR's and ImageNet's files (batches.go, batches_read.go, and pickle.go for what
//     Python has pickled), or nothing, which is the built-in emoji set (emoji.go). It leaves out what is no data (left_out.go), numbers
//     the images in the reference's order, gives them their classes (labels.go,
//     dataset_json.go, label_table.go) and checks their headers.
//  2. A Loader (loader.go) walks the endless sequence of epochs, each a
//     permutation of the images (random.go), and hands numbers to its workers
//     (pipeline.go).
//  3. A worker reads the file, decodes it and fits it to the training size as the
//     reference does (package imaging). The result is cached (cache.go), where there is
//     memory for all (free_memory.go).
//  4. It is mirrored or cropped at random, if asked for, and lies in its place of
//     a Batch, which Loader.Next hands out when it is full.
//
// Everything about a batch depends on the seed and the position in the sequence
// alone: not on the number of threads, nor on how many ranks share the batch.
//
// An image that cannot be read is an error that names it, unless
// Options.MaxBadImages allows for it (bad.go). Describe (describe.go) looks a set
// through beforehand, and Prepare (prepare.go, zip_write.go) packs any of them into a
// zip at the training size.
package data
