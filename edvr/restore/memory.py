"""The memory of this process, and the memory that restoring takes per pixel."""
import contextlib
import ctypes
import os
import threading
import time
import typing

import numpy as np

from edvr.config import ModelConfig
from edvr.network import networks
from edvr.network.engine import Engine

_PROBE = 272   # pixels a side; a window of this size is restored as a large one is, the last layers in strips
_RUNS = 3      # the heap of the C library fragments: the third run may take a half more than the first
_MARGIN = 1.1  # later runs take up to 7 % more than the third
_INTERVAL_S = 0.002


def resident() -> int:
    """Returns the resident memory of this process in bytes."""
    with open('/proc/self/statm') as file:
        return int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE')


class Peak:
    """Measures this process during a `with` block.

    Attributes:
      bytes: the largest resident memory in the block.
    """

    def __enter__(self) -> 'Peak':
        self.bytes, self._stop = resident(), threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: typing.Any) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.is_set():
            self.bytes = max(self.bytes, resident())
            time.sleep(_INTERVAL_S)


class Footprint(typing.NamedTuple):
    """The memory of restoring, bytes.

    Attributes:
      base: the resident memory of the process with the loaded network.
      per_pixel: what restoring windows adds for each pixel of an input frame.
    """
    base: int
    per_pixel: float


def footprint(engine: Engine) -> Footprint:
    """Measures the memory of restoring on a small window.

    A smaller window is restored first, so that what is allocated once belongs to the base. The window is restored
    several times, as tiles are. Larger windows take a little less per pixel.

    Args:
      engine: the loaded network.
    Returns:
      Footprint. Memory that TensorFlow 2 keeps for its next tensors is not part of the base.
    """
    multiple, num_frames = engine.config.size_multiple, engine.config.num_frames
    side = -(-_PROBE // multiple) * multiple
    engine.run(np.zeros([1, num_frames, 2 * multiple, 2 * multiple, 3], np.uint8))
    trim()   # so that the reuse of memory that the C library keeps counts
    before = resident()
    with Peak() as peak:
        for _ in range(_RUNS):
            engine.run(np.zeros([1, num_frames, side, side, 3], np.uint8))
    return Footprint(before, _MARGIN * (peak.bytes - before) / side ** 2)


def kept_bytes_per_pixel(config: ModelConfig) -> float:
    """Returns the memory of the kept features of a window for each pixel of an input frame, bytes."""
    side = config.size_multiple
    values = sum(height * width * channels for _, height, width, channels in
                 networks.feature_shapes(config, side, side))
    return config.num_frames * 4 * values / side ** 2


def trim() -> None:
    """Returns the memory that the C library keeps to the system."""
    with contextlib.suppress(OSError, AttributeError):   # another C library: the result is a little too small
        ctypes.CDLL('libc.so.6').malloc_trim(0)
