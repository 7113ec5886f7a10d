"""Has Python's tensorboard write what events_test.go compares its bytes with.

    python make.py    # needs tensorboard, no TensorFlow
"""

import pathlib
import struct
import zlib

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


# A red picture, 2 pixels wide and 3 high.
PNG = (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 3, 8, 2, 0, 0, 0))
       + chunk(b"IDAT", zlib.compress(b"\0\xff\0\0\xff\0\0" * 3, 9)) + chunk(b"IEND", b""))

VALUES = {"samples": 56, "loss": 0.1, "vb": float("nan"), "mse": float("inf"), "grad_norm": -1e-300, "größe": -2.5}


def main():
    folder = pathlib.Path(__file__).parent
    (folder / "red.png").write_bytes(PNG)
    image = Summary.Value(tag="images/samples/ema_0.9999", image=Summary.Image(height=3, width=2, encoded_image_string=PNG))
    with open(folder / "python.tfevents", "wb") as f:
        writer = RecordWriter(f)
        for event in [
            Event(wall_time=1, step=5, file_version="brain.Event:2"),
            Event(wall_time=2, step=5, session_log=SessionLog(status=SessionLog.START)),
            Event(wall_time=3, step=7, summary=Summary(
                value=[Summary.Value(tag=k, simple_value=v) for k, v in VALUES.items()])),
            Event(wall_time=4, step=1 << 40, summary=Summary(value=[image])),
        ]:
            writer.write(event.SerializeToString())
        writer.flush()


if __name__ == "__main__":
    main()
