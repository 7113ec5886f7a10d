// Package parquet reads single values of Parquet files by row, without reading whole
// files into memory: package data keeps images in a column of encoded files.
//
// The footer, the schema and the page headers are decoded by parquet-go. That library
// believes the counts of a file, and would allocate what a damaged or hostile file claims,
// so thrift.go checks them first; pages are decompressed (compress.go) and decoded
// (levels.go, page.go) here, within the sizes that their headers state. file.go opens a
// file, and column.go finds the pages of a column. Cache (cache.go) keeps decoded pages.
//
// A column has one value per row: columns within lists are refused. Pages are of version
// 1 or 2, plain, dictionary-encoded or delta-encoded, and compressed by snappy, gzip,
// zstd, brotli or LZ4, or not at all.
package parquet
