// Package storage keeps run folders behind URLs: s3://BUCKET/PATH, gs://BUCKET/PATH
// and file:///PATH, by way of gocloud.dev/blob.
//
// A program works in a folder of its own machine, the local copy, and nothing in
// it waits for a network: a [Mirror] brings what is new in that folder to the
// [Folder] beside the work, and [Folder.Fetch] brings files back. What is sent is
// checked there, by its size and its checksum; what fails is tried again.
package storage
