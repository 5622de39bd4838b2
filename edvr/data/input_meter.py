"""Counts what the input of a process reads and decodes, by the input pipeline itself: local and remote files alike.

A sample carries the size of its record and the time of its decoding. They are summed up once a batch, before the
prefetch: a clock in each sample costs nothing that can be measured, a call of Python in each would.
"""
import threading
from typing import NamedTuple, Sequence, Tuple

import numpy as np
import tensorflow.compat.v1 as tf


class Count(NamedTuple):
    """Counts what an input has done so far.

    Attributes:
      read: bytes of records read, from the storage or the cache of the operating system.
      decoding: seconds of decoding, divided by the number of threads that decode.
      batches: batches that were prepared.
    """
    read: float
    decoding: float
    batches: int


class InputMeter:
    """Counts the batches of one data set.

    Attributes:
      batch: samples that this process takes in a step.
    """

    def __init__(self, batch_size: int, per_step: int = 1) -> None:
        """Prepares the meter.

        Args:
          batch_size: samples in a batch.
          per_step: batches that this process takes in a step.
        """
        self.batch = batch_size * per_step
        self._batch_size = batch_size
        self._lock = threading.Lock()
        self._count = Count(0., 0., 0)

    def count(self) -> Count:
        """Returns the counts so far."""
        return self._count

    def ready(self, steps: int) -> int:
        """Returns the samples that are prepared and not used after so many steps of the session."""
        return self._count.batches * self._batch_size - steps * self.batch

    def counted(self, costs: tf.Tensor, batch: tf.Tensor) -> tf.Tensor:
        """Returns `batch`, counted when it is computed; costs: float64 [N, 2], of `cost`."""
        with tf.control_dependencies([tf.numpy_function(self._add, [tf.reduce_sum(costs, 0)], tf.int64)]):
            return tf.identity(batch)

    def _add(self, cost: np.ndarray) -> np.int64:
        with self._lock:
            self._count = Count(self._count.read + cost[0], self._count.decoding + cost[1], self._count.batches + 1)
        return np.int64(0)


def cost(serialized: tf.Tensor, share: float, began: tf.Tensor, decoded: Sequence[tf.Tensor], threads: int
         ) -> Tuple[tf.Tensor, ...]:
    """Returns the decoded tensors, and the cost of a sample: float64 [2], bytes and seconds of a thread.

    Args:
      serialized: string scalar, its record.
      share: factor on the bytes, for records that are used or read several times.
      began: float64 [], when its decoding began.
      decoded: of the sample.
      threads: that decode.
    """
    with tf.control_dependencies(decoded):
        seconds = tf.timestamp() - began
    return tuple(decoded) + (tf.stack([share * tf.cast(tf.strings.length(serialized), tf.float64), seconds / threads]),)
