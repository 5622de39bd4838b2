"""The preview of a restoration: a few comparison pictures, and an estimate of time and size."""
import contextlib
import os
import tempfile
import time
import typing

import numpy as np

from data_tools.base import files
from data_tools.media import comparison_page
from data_tools.media.comparison import side_by_side
from data_tools.media.images import write_png
from data_tools.media.imresize import enlarge
from edvr.output import containers
from edvr.output.clip_source import Source, restored_frames
from edvr.output.encoding import Encoding
from edvr.output.segments import FRAMES, SegmentEncoder
from edvr.output.timing import Timing
from edvr.restore.pixels import to_uint8
from edvr.restore.restorer import Restorer


def write_preview(restorer: Restorer, source: Source, count: int, output: str, codec: str = 'auto',
                  crf: int = 18, options: typing.Sequence[str] = ()) -> typing.Tuple[str, float, float]:
    """Restores frames spread over a clip and writes pictures `input enlarged | restored`.

    Args:
      restorer: Restorer.
      source: the clip.
      count: pictures.
      output: the folder or video that the complete restoration would write; pictures go to OUTPUT_preview.
      codec, crf: see `InferConfig`.
      options: of ffmpeg, see `codecs.options_of`.
    Returns:
      (the folder of the pictures; seconds a frame; bytes a frame): times and sizes are estimates.
    Raises:
      UserError: frames that cannot be read or restored, or a folder that cannot be written.
    """
    folder = os.path.splitext(output.rstrip('/'))[0] + '_preview'
    files.make_dir(folder)
    seconds, sizes = [], []
    pages: typing.List[comparison_page.Picture] = []
    for index in places(source.length, count):
        lq, restored, times = _two_frames(restorer, source, index)
        enlarged = enlarge(lq, restorer.config.upscale)
        if source.resize:
            enlarged = to_uint8(source.resize.apply(enlarged / np.float32(255)))
        write_png(os.path.join(folder, source.names[index] + '.png'),
                  side_by_side([('input, bicubic', enlarged), ('restored', restored[0])]), profile=source.kept_profile)
        seconds.append(times[-1])
        sizes.append(_size(restored, output, codec, crf, options))
        height, width = restored[0].shape[:2]
        pages.append(comparison_page.Picture(source.name, source.names[index], [
            comparison_page.Panel.of(label, image, source.kept_profile)
            for label, image in (('input, bicubic', enlarged), ('restored', restored[0]))],
            [('input', '%d x %d' % source.size[::-1]), ('restored', '%d x %d' % (width, height)),
             ('time', '%.2f s a frame' % times[-1]), ('size', 'about %.3g kB a frame' % (sizes[-1] / 1e3))]))
    comparison_page.write(os.path.join(folder, comparison_page.NAME), 'Preview of ' + source.name, pages)
    return folder, float(np.median(seconds)), float(np.mean(sizes))


def places(length: int, count: int) -> typing.List[int]:
    """Returns the indices of `count` frames spread over a clip of `length`, fewer if it is shorter, sorted."""
    return sorted({int(place) for place in np.linspace(0, length, count + 2)[1:-1]})


def _two_frames(restorer, source, index):
    """Returns frame `index` (uint8), it and the next one restored (uint8), and seconds of each; one for the last.

    The second takes as long as any frame of a long clip; the time of the first includes the frames before it.
    """
    with contextlib.closing(source.read(index)) as frames:
        lq = next(frames)
    restored, times = [], []
    with contextlib.closing(restored_frames(restorer, source, index)) as stream:
        started = time.perf_counter()
        for sr in stream:
            times.append(time.perf_counter() - started)
            restored.append(to_uint8(sr))
            if len(restored) == 2:
                break
            started = time.perf_counter()
    return (lq >> 8).astype(np.uint8) if lq.dtype == np.uint16 else lq, restored, times


def _size(frames, output, codec, crf, options):
    """Returns the approximate bytes of a frame in the output: in PNG, or in a video with a key frame per segment."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'size')
        if os.path.splitext(output)[1].lower() not in containers.CONTAINERS:
            write_png(path + '.png', frames[0])
            return os.path.getsize(path + '.png')
        encoding = Encoding.for_container(containers.container_of(output), output, codec, crf, options=options)
        sizes = []
        for count in range(1, len(frames) + 1):
            with SegmentEncoder(path + '.mp4', frames[0].shape, Timing(25), 0, encoding) as encoder:
                for frame in frames[:count]:
                    encoder.write(frame)
            sizes.append(os.path.getsize(path + '.mp4'))
        return sizes[0] / FRAMES + (sizes[-1] - sizes[0])
