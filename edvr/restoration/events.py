"""TensorBoard events of numbers and pictures that Python already has; nothing is added to any graph."""
import itertools
import os

import tensorflow.compat.v1 as tf

from edvr.restoration.comparison import encode_png

_WRITERS = itertools.count()


class EventWriter:
    """Writes events into a folder; `None` as folder writes nowhere. A context; what is written is visible at once."""

    def __init__(self, folder):
        # a graph of its own, for FileWriter would otherwise look at the current one
        with tf.Graph().as_default():
            # two writers of one second would otherwise share a file name, and the second would empty the first's file
            suffix = '.%d.%d' % (os.getpid(), next(_WRITERS))
            self._writer = tf.summary.FileWriter(folder, filename_suffix=suffix) if folder else None

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def scalars(self, step, values):
        """values: dict of tag -> float."""
        self._write(step, [tf.Summary.Value(tag=tag, simple_value=value) for tag, value in sorted(values.items())])

    def image(self, step, tag, image):
        """image: uint8 [H, W, 3]."""
        height, width = image.shape[:2]
        self._write(step, [tf.Summary.Value(tag=tag, image=tf.Summary.Image(
            height=height, width=width, colorspace=3, encoded_image_string=encode_png(image)))])

    def close(self):
        if self._writer:
            self._writer.close()

    def _write(self, step, values):
        if self._writer:
            self._writer.add_summary(tf.Summary(value=values), step)
            self._writer.flush()
