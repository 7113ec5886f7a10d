// Package runs manages run folders: the default runs/NNN-NAME, and folders at URLs (s3://, gs://,
// file://) with the local copies in which training works.
package runs
