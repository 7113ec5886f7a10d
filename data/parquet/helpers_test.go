package parquet

import "github.com/parquet-go/parquet-go/format"

var pageTypes = []format.PageType{format.DataPage, format.DataPageV2}

func formatCodec(n int) format.CompressionCodec { return format.CompressionCodec(n) }

func formatEncoding(n byte) format.Encoding { return format.Encoding(n) }
