"""Has Python's tensorboard write what events_test.go compares its bytes with.

    python make.py    # needs tensorboard, no TensorFlow
"""

import pathlib

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter


VALUES = {"samples": 56, "loss": 0.1, "vb": float("nan"), "mse": float("inf"), "grad_norm": -1e-300, "größe": -2.5}


def main():
    folder = pathlib.Path(__file__).parent
    with open(folder / "python.tfevents", "wb") as f:
        writer = RecordWriter(f)
        for event in [
            Event(wall_time=1, step=5, file_version="brain.Event:2"),
            Event(wall_time=2, step=5, session_log=SessionLog(status=SessionLog.START)),
            Event(wall_time=3, step=7, summary=Summary(
                value=[Summary.Value(tag=k, simple_value=v) for k, v in VALUES.items()])),
            Event(wall_time=4, step=8, summary=Summary(value=[Summary.Value(tag="samples", image=Summary.Image(
                height=2, width=3, colorspace=3, encoded_image_string=(folder / "image.png").read_bytes()))])),
        ]:
            writer.write(event.SerializeToString())
        writer.flush()


if __name__ == "__main__":
    main()
