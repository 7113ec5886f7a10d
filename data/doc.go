// Package data turns collections of images into batches of uint8 pixels. It
// does not use tensors.
//
// The data flow of an image, in reading order of the files:
//
//  1. Open (open.go, with options.go) makes a Dataset (dataset.go): it detects what the path is (formats.go) and opens it as a source
//     (source.go): a folder (folder.go), a zip (zip.go), LSUN's database (lmdb.go), files of
//     many images each (shards.go) of Hugging Face (parquet.go) or of webdataset
//     (webdataset.go), raw pixels (arrays.go) from an npz (npz.go) or from CIFAR's,
//     ImageNet's and MNIST's files (batches.go, batches_read.go, batch_set.go, idx.go, and pickle.go for
//     what Python pickles), or empty, the built-in emoji set (emoji.go). It excludes files that are not data (left_out.go), numbers
//     the images in the reference's order, assigns classes (labels.go,
//     dataset_json.go, label_table.go), keeps those that are asked for (chosen.go), and checks their headers.
//  2. A Loader (loader.go) iterates over the endless sequence of epochs, each a
//     permutation of the images (random.go), and sends image numbers to its workers
//     (pipeline.go).
//  3. A worker reads the file, decodes it and preprocesses it (resize, center crop) as
//     the reference does (package imaging). The result is cached (cache.go) if
//     all images fit in memory.
//  4. Data augmentation flips or crops it at random, if enabled. It is written into a
//     Batch, which Loader.Next returns when it is full.
//
// A batch depends only on the seed and the position in the sequence, not on the
// number of threads or on the number of ranks that share the batch.
//
// An unreadable image is an error that names it, unless Options.MaxBadImages
// allows it (bad.go), or a ShortageError (shortage.go) if the system and not the image is at fault. Describe (describe.go) checks a set beforehand, and Prepare
// (prepare.go, zip_write.go) packs a set into a zip at the training size.
package data
