"""Writes TensorBoard events of numbers and pictures from Python; nothing is added to any graph."""
import itertools
import os
import socket
import time
from typing import Any, Dict, Optional, TypeVar

import numpy as np
import tensorflow.compat.v1 as tf

from data_tools.base import files
from data_tools.media.images import encode_png

Self = TypeVar('Self', bound='EventWriter')

_WRITERS = itertools.count()


class EventWriter:
    """A context that writes events into a folder, visible at once; the folder `None` writes nothing."""

    def __init__(self, folder: Optional[str]) -> None:
        self._writer: Any = None
        if folder:
            files.make_dir(folder)
            # two writers of the same second must not share a file: the second would empty it
            self._path = os.path.join(folder, 'events.out.tfevents.%010d.%s.%d.%d' % (
                time.time(), socket.gethostname(), os.getpid(), next(_WRITERS)))
            # tf.summary.FileWriter writes in a thread, which a full disk ends without a message or with a traceback
            with files.explained(self._path):
                self._writer = tf.io.TFRecordWriter(self._path)
            self._write(file_version='brain.Event:2')

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()

    def scalars(self, step: int, values: Dict[str, float]) -> None:
        """Writes a point of each curve: {tag: value}."""
        self._values(step, [tf.Summary.Value(tag=tag, simple_value=value) for tag, value in sorted(values.items())])

    def image(self, step: int, tag: str, image: np.ndarray) -> None:
        """Writes a picture, uint8 [H, W, 3]."""
        height, width = image.shape[:2]
        self._values(step, [tf.Summary.Value(tag=tag, image=tf.Summary.Image(
            height=height, width=width, colorspace=3, encoded_image_string=encode_png(image)))])

    def close(self) -> None:
        """Closes the file."""
        if self._writer:
            with files.explained(self._path):
                self._writer.close()

    def _values(self, step: int, values: Any) -> None:
        self._write(step=step, summary=tf.Summary(value=values))

    def _write(self, **fields: Any) -> None:
        if self._writer:
            with files.explained(self._path):
                self._writer.write(tf.Event(wall_time=time.time(), **fields).SerializeToString())
                self._writer.flush()
