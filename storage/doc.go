// Package storage stores run folders at URLs: s3://BUCKET/PATH, gs://BUCKET/PATH
// and file:///PATH, by gocloud.dev/blob.
//
// A program works in a local copy of the folder and never waits for the network: a
// [Mirror] uploads new files of the local copy to the [Folder] in the background, and
// [Folder.Fetch] downloads files. Uploads are verified by size and checksum. Failed
// operations are retried.
package storage
