"""The preview of a restoration: a few comparison pictures, and an estimate of time and size."""
import contextlib
import os
import tempfile
import time

import numpy as np

from data_tools.base import files
from data_tools.media.images import write_png
from edvr.evaluation.comparison import bicubic, side_by_side
from edvr.output import containers
from edvr.output.encoding import Encoding
from edvr.output.segments import FRAMES, SegmentEncoder
from edvr.output.timing import Timing
from edvr.restore.pixels import to_uint8
from edvr.sharing import clip_source


def preview(restorer, source, count, output, codec='auto', crf=18):
    """Restores frames spread over a clip and writes pictures `input enlarged | restored`.

    Args:
      restorer: Restorer.
      source: clip_source.Source.
      count: int, pictures.
      output: str, the folder or video that the whole restoration would write; pictures go to OUTPUT_preview.
      codec, crf: see `InferConfig`.
    Returns:
      (str, the folder of the pictures; float, seconds a frame; float, bytes a frame): times and sizes are estimates.
    Raises:
      UserError: frames that cannot be read or restored, or a folder that cannot be written.
    """
    folder = os.path.splitext(output.rstrip('/'))[0] + '_preview'
    files.make_dir(folder)
    seconds, sizes = [], []
    for index in places(source.length, count):
        lq, restored, times = _restore_two(restorer, source, index)
        enlarged = bicubic(lq, restorer.config.upscale)
        write_png(os.path.join(folder, source.names[index] + '.png'),
                  side_by_side([('input, bicubic', enlarged), ('restored', restored[0])]))
        seconds.append(times[-1])
        sizes.append(_size(restored, output, codec, crf))
    return folder, float(np.median(seconds)), float(np.mean(sizes))


def places(length, count):
    """Indices of `count` frames spread over a clip of `length`, fewer where it is shorter: sorted list of int."""
    return sorted({int(place) for place in np.linspace(0, length, count + 2)[1:-1]})


def _restore_two(restorer, source, index):
    """Frame `index` (uint8), the restored frame and the next one (uint8), and seconds of each; one for the last frame.

    The second takes as long as any frame of a long clip; the time of the first includes the frames before it.
    """
    with contextlib.closing(source.read(index)) as frames:
        lq = next(frames)
    restored, times = [], []
    with contextlib.closing(clip_source.restore(restorer, source, index)) as stream:
        started = time.perf_counter()
        for sr in stream:
            times.append(time.perf_counter() - started)
            restored.append(to_uint8(sr))
            if len(restored) == 2:
                break
            started = time.perf_counter()
    return (lq >> 8).astype(np.uint8) if lq.dtype == np.uint16 else lq, restored, times


def _size(frames, output, codec, crf):
    """The approximate bytes of a frame in the output: in a PNG file, or in a video with a key frame per segment."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'size')
        if os.path.splitext(output)[1].lower() not in containers.CONTAINERS:
            write_png(path + '.png', frames[0])
            return os.path.getsize(path + '.png')
        encoding = Encoding.for_container(containers.container_of(output), output, codec, crf)
        sizes = []
        for count in range(1, len(frames) + 1):
            with SegmentEncoder(path + '.mp4', frames[0].shape, Timing(25), 0, encoding) as encoder:
                for frame in frames[:count]:
                    encoder.write(frame)
            sizes.append(os.path.getsize(path + '.mp4'))
        return sizes[0] / FRAMES + (sizes[-1] - sizes[0])
