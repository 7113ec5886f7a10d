"""Writes the files here with pyarrow: `python make.py`, with pyarrow 26.0.1."""

import itertools
import json

import pyarrow as pa
import pyarrow.parquet as pq

# 50 rows: byte strings of 0 to 48 bytes, every seventh null, integers, and text.
values = [None if i % 7 == 3 else bytes([i]) * i for i in range(50)]
rows = pa.table({
    "image": pa.array([None if v is None else {"bytes": v, "path": f"{i:02}.png"} for i, v in enumerate(values)],
                      pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
    "label": pa.array([i % 3 for i in range(50)], pa.int64()),
    "small": pa.array([-i for i in range(50)], pa.int8()),
    "sizes": pa.array([[i, i] for i in range(50)], pa.list_(pa.int32())),
    "score": pa.array([i / 2 for i in range(50)], pa.float32()),
}).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": {"image": {"_type": "Image"}}}})})

CODECS = {"none": "1.0", "snappy": "2.0", "gzip": "1.0", "zstd": "2.0", "brotli": "1.0", "lz4": "2.0"}
for codec, version in CODECS.items():
    pq.write_table(rows, f"{codec}.parquet", compression=codec, data_page_version=version, row_group_size=20,
                   use_dictionary=codec in ("none", "snappy"), data_page_size=200, write_batch_size=4)
pq.write_table(rows, "delta.parquet", compression="none", use_dictionary=False, row_group_size=20, column_encoding={
    "image.bytes": "DELTA_LENGTH_BYTE_ARRAY", "label": "DELTA_BINARY_PACKED", "small": "DELTA_BINARY_PACKED"})
