"""Decoded frames on disk while a set is packed.

Windows are shuffled over all clips, so a shard needs frames of many clips in any order. LQ frames are decoded once,
because each is in several windows. GT frames of images are read from their files when their window is written. GT
frames of a video can only be decoded in order: they are decoded once, and kept until their shards are written. If the
disk cannot hold all of them, they are decoded several times, for some of the shards at a time.

A file holds the frames of one clip, uint8 [L, H, W, 3] in NumPy's format. It appears when it is complete.
"""
import bisect
import contextlib
import os
import tempfile
import urllib.parse
import zlib
from typing import Any, Dict, Iterable, List, Mapping, Sequence, Tuple

import numpy as np

from data_tools.base import files, worker_pool
from data_tools.base.errors import UserError
from data_tools.media.clips import Clip
from data_tools.media.frames import Decoder, DegradedFrames

PREFIX = 'scratch-'


class Scratch:
    """The scratch folder of a run. Each range of shards has its own folder, because hosts work independently."""

    def __init__(self, scratch_dir: str, output_dir: str, wanted: range, job: Dict[str, Any]) -> None:
        """Chooses the folder.

        Args:
          scratch_dir: '' for the default.
          output_dir: of the set.
          wanted: shard numbers.
          job: the result of `job.describe_job`.
        """
        settings = sorted((key, value) for key, value in job.items() if key not in ('sources', 'clips', 'shots'))
        mark = zlib.crc32(repr((output_dir, settings)).encode())   # several jobs may share a scratch_dir
        name = PREFIX + '%08x-%d-%d' % (mark, wanted[0], wanted[-1] + 1)
        if not scratch_dir:
            scratch_dir = tempfile.gettempdir() if files.is_remote(output_dir) else output_dir
        self.folder = os.path.join(scratch_dir, name)

    def lq_path(self, clip: Clip) -> str:
        """Returns the path of the file with the LQ frames of a clip."""
        return self._path(clip, 'lq')

    def gt_path(self, clip: Clip, centres: Sequence[int]) -> str:
        """Returns the path of the file with the GT frames `centres` (sorted)."""
        return self._path(clip, 'gt-%08x' % zlib.crc32(np.asarray(centres, '<i4').tobytes()))

    def _path(self, clip, kind):
        quoted = urllib.parse.quote(clip.name, safe='')[:80]
        return os.path.join(self.folder, '%s-%08x-%s.%s.npy' % (quoted, zlib.crc32(clip.name.encode('utf-8')),
                                                                clip.mark, kind))

    def read_lq(self, clip: Clip, frames: List[int]) -> np.ndarray:
        """Reads LQ frames of a clip, uint8 [T, H, W, 3]."""
        return np.asarray(np.load(self.lq_path(clip), mmap_mode='r')[frames])

    def read_gt(self, clip: Clip, centre: int, centres: Sequence[int]) -> np.ndarray:
        """Reads a GT frame, uint8 [s*H, s*W, 3]; `centres` are the kept frames, sorted; for GT in image files any."""
        if clip.gt.direct:
            return clip.gt.frame(centre)
        return np.asarray(np.load(self.gt_path(clip, centres), mmap_mode='r')[bisect.bisect_left(centres, centre)])

    def missing(self, clip: Clip, centres: Sequence[int]) -> Tuple[bool, bool]:
        """Returns whether LQ and whether GT of a clip must be decoded. `centres` are the GT frames to keep, sorted."""
        return (not os.path.exists(self.lq_path(clip)),
                not clip.gt.direct and bool(centres) and not os.path.exists(self.gt_path(clip, centres)))

    def forget_gt(self, centres: Mapping[str, Sequence[int]], clips: Iterable[Clip] = ()) -> None:
        """Removes GT frames of written shards; keeps those of `clips` at `centres`."""
        kept = {os.path.basename(self.gt_path(clip, centres[clip.name])) for clip in clips if clip.name in centres}
        for name in files.listing(self.folder):
            if '.gt-' in name and name.endswith('.npy') and name not in kept:
                files.remove(os.path.join(self.folder, name))

    def remove(self) -> None:
        """Removes the folder."""
        files.remove(self.folder)


def frame_bytes(side: Any) -> int:
    """Returns the bytes of a decoded frame of LQ or GT of a clip."""
    return 3 * side.size[0] * side.size[1]


def decode_clips(clips: List[Clip], centres: Dict[str, List[int]], scratch: Scratch) -> None:
    """Decodes the missing frames of a group of clips that are read one after the other.

    Args:
      clips: of one group.
      centres: {name of clip: sorted list of GT frames to keep}.
      scratch: for the frames.
    """
    with Decoder() as gt_decoder, Decoder() as lq_decoder:
        for clip in clips:
            _decode_clip(clip, centres.get(clip.name, ()), scratch, gt_decoder, lq_decoder)


def _decode_clip(clip, centres, scratch, gt_decoder, lq_decoder):
    wants_lq, wants_gt = scratch.missing(clip, centres)
    made = wants_lq and isinstance(clip.lq, DegradedFrames)
    with contextlib.ExitStack() as stack:
        gt = iter(())
        if wants_gt or made:
            gt = gt_decoder.read(clip.gt)
        if wants_gt:
            gt = _put_each(gt, stack.enter_context(_store(scratch.gt_path(clip, centres), clip.gt, centres)))
        if wants_lq:
            lq = clip.lq.made_from(gt) if made else lq_decoder.read(clip.lq)
            put = stack.enter_context(_store(scratch.lq_path(clip), clip.lq, range(clip.length)))
            for _ in _put_each(lq, put):
                worker_pool.report(1, frame_bytes(clip.lq))
        for _ in gt:
            worker_pool.report(0 if wants_lq else 1, frame_bytes(clip.gt))


@contextlib.contextmanager
def _store(path, side, numbers):
    """Opens a file for the frames `numbers` (sorted) of a side. Yields a function (number, frame) that takes each."""
    place = {number: i for i, number in enumerate(numbers)}
    with files.atomic_path(path) as partial:
        array = np.lib.format.open_memmap(partial, 'w+', np.uint8, (len(place),) + tuple(side.size) + (3,))
        lacking = set(place)

        def put(number, frame):
            if frame.shape != array.shape[1:]:
                raise UserError('%s is %dx%d, the clip %dx%d (height x width)'
                                % ((side.label(number),) + frame.shape[:2] + array.shape[1:3]))
            if number in place:
                array[place[number]] = frame
                lacking.discard(number)

        yield put
        if lacking:
            raise UserError('%s: %d of %d frames could not be read' % (side.path, len(lacking), len(place)))
        array.flush()


def _put_each(frames, put):
    for number, frame in enumerate(frames):
        put(number, frame)
        yield frame
