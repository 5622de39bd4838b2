"""Restores clips with ground truth, and measures each frame.

Numbers of one frame, one clip and all clips are dicts with the same keys: `edvr_psnr`, `edvr_ssim` compare the image
rounded to uint8, as files store it, in RGB; `..._y` compares luma; `..._unrounded` the float image, clipped to [0, 1];
`bicubic_...` the interpolated LQ frame (uint8). A clip's number is the mean over its frames, the overall number the
mean over clips.
"""
import collections
import concurrent.futures
import contextlib
import hashlib
import json
import time
import typing

import numpy as np

from data_tools.base.errors import UserError
from data_tools.media.clips import Clip
from data_tools.media.frames import Decoder, DegradedFrames
from data_tools.media.imresize import enlarge
from data_tools.media.read_ahead import read_ahead
from edvr.config.restoration import EvaluateConfig
from edvr.evaluation import metrics
from edvr.evaluation.temporal import SEQUENCES
from edvr.restore import pixels
from edvr.restore.restorer import Restorer

ClipResult = collections.namedtuple('ClipResult', 'name frames seconds')
ClipResult.__doc__ = """Numbers of one clip.

name: str.
frames: list of dict of numbers, in order.
seconds: list of float, time to restore each frame.
"""
Numbers = typing.Dict[str, float]

EXACT_DB = 100.   # counts for a frame that is restored exactly when checkpoints are compared
_PENDING = 4   # frames that may wait to be measured while the next ones are restored


def measure(sr: np.ndarray, gt: np.ndarray, lq: np.ndarray, scale: int, crop_border: int = 0, with_ssim: bool = True,
            with_bicubic: bool = True) -> Numbers:
    """Returns the numbers of one frame.

    Args:
      sr: float32 [s*H, s*W, 3], restored, in [0, 1], not clipped.
      gt: uint8 [s*H, s*W, 3].
      lq: uint8 [H, W, 3].
      scale: s.
      crop_border: GT pixels left out at each side.
      with_ssim, with_bicubic: whether to compute SSIM; whether to measure bicubic interpolation too.
    Returns:
      The numbers, by the names that the module describes.
    """
    candidates = [('edvr_%s', pixels.to_uint8(sr)), ('edvr_%s_unrounded', sr)]
    if with_bicubic:
        candidates.append(('bicubic_%s', enlarge(lq, scale)))
    functions = [('psnr', metrics.psnr), ('psnr_y', metrics.psnr_y)]
    if with_ssim:
        functions += [('ssim', metrics.ssim), ('ssim_y', metrics.ssim_y)]
    return {name % kind: function(image, gt, crop_border) for name, image in candidates for kind, function in functions}


def mean(rows: typing.Sequence[Numbers]) -> Numbers:
    """Returns the mean of each number over a list of dicts with the same keys.

    A number that a frame does not have, as the change from the frame before of the first one, is None.
    """
    known = {key: [row[key] for row in rows if row[key] is not None] for key in rows[0]}
    return {key: float(np.mean(values)) if values else float('nan') for key, values in known.items()}


def overall(results: typing.Sequence[ClipResult]) -> Numbers:
    """Returns the mean over clips of each clip's mean."""
    return mean([mean(result.frames) for result in results])


def comparable(results: typing.Sequence[ClipResult]) -> Numbers:
    """Returns the `overall` numbers by which checkpoints are compared: the PSNR of a frame is at most EXACT_DB.

    The PSNR of a frame that is restored exactly, such as a black one, is infinite, and so is every mean with it.
    """
    return overall([result._replace(frames=[
        {key: min(value, EXACT_DB) if '_psnr' in key else value for key, value in row.items()}
        for row in result.frames]) for result in results])


def median_ms(results: typing.Sequence[ClipResult]) -> float:
    """Returns the median milliseconds per frame, without the first of all (it pays for starting)."""
    seconds = [second for result in results for second in result.seconds]
    return 1000 * float(np.median(seconds[1:] or seconds))


def num_frames(clip: Clip, config: EvaluateConfig) -> int:
    """Returns how many frames of a clip are evaluated."""
    return min(config.max_frames or clip.length, clip.length)


def digest(clips: typing.Sequence[Clip], config: EvaluateConfig) -> str:
    """Returns a digest of what is measured: PSNRs with another one are not comparable.

    It is of the names and sizes of the clips, the number of frames of each, what made their LQ, and the border.
    """
    facts = [(clip.name, clip.gt.size, num_frames(clip, config),
              clip.lq.degradation.to_job() if isinstance(clip.lq, DegradedFrames) else None) for clip in clips]
    text = json.dumps([config.crop_border, facts], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def evaluate_clip(restorer: Restorer, clip: Clip, config: EvaluateConfig,
                  on_frame: typing.Optional[typing.Callable[..., None]] = None, concurrent_metrics: bool = False,
                  decoders: typing.Optional[typing.Tuple[Decoder, Decoder]] = None, first: int = 0,
                  end: typing.Optional[int] = None) -> ClipResult:
    """Restores a clip, or the frames of it from `first` to `end` (not included), and measures its frames.

    Args:
      restorer: the network.
      clip: has LQ and GT.
      config: the frames to evaluate, and what to measure.
      on_frame: called as on_frame(index, lq, sr, gt, numbers) for each frame, in order; numbers of metrics that depend
        on other frames are added to the dict at the end of the clip.
      concurrent_metrics: measure frames while the next ones are restored; for accelerators. On a CPU the measurement
        would slow the restoring that is timed.
      decoders: for LQ and GT, that also read the clips before and after: so a
        video is decoded once for all its shots. None reads this clip alone.
      first, end: None ends at the last frame that config selects.
    Raises:
      UserError: the errors of `Restorer.restore_clip`; frames that cannot be read.
    """
    if decoders is None:
        with Decoder() as lq_decoder, Decoder() as gt_decoder:
            return evaluate_clip(restorer, clip, config, on_frame, concurrent_metrics, (lq_decoder, gt_decoder), first,
                                 end)
    lq_decoder, gt_decoder = decoders
    # LQ frames read and not yet measured
    held: typing.Deque[typing.Tuple[int, np.ndarray]] = collections.deque(maxlen=restorer.config.num_frames + 1)
    reading = _Stopwatch()

    before = max(0, first - (restorer.config.num_frames - 1))   # the first frame that a window may need

    def frames():
        stream = clip.lq.read(before) if before else lq_decoder.read(clip.lq)
        for index in range(before, clip.length):
            with reading:
                frame = next(stream)
            held.append((index, frame))
            yield frame

    end = num_frames(clip, config) if end is None else end
    rows: typing.List[Numbers] = []
    seconds: typing.List[float] = []
    pending: typing.Deque[typing.Any] = collections.deque()   # (index, lq, sr, future of the numbers)

    def collect(limit):
        while len(pending) > limit:
            index, lq, sr, measured = pending.popleft()
            row, gt = measured.result()
            rows.append(row)
            if on_frame:
                on_frame(index, lq, sr, gt, row)

    gt_frames = clip.gt.read(first) if first else gt_decoder.read(clip.gt)
    gt_frames = read_ahead(gt_frames) if concurrent_metrics else gt_frames
    with contextlib.closing(gt_frames), concurrent.futures.ThreadPoolExecutor(2) as pool, \
            _Sequences(restorer.config.upscale, config) as sequences:
        restored = restorer.restore_clip(frames(), clip.length - before, first - before)
        for index in range(first, end):
            started, read_before = time.perf_counter(), reading.seconds
            sr = next(restored)
            seconds.append(time.perf_counter() - started - (reading.seconds - read_before))
            lq, gt = dict(held)[index], next(gt_frames)
            if gt.shape != sr.shape:
                raise UserError('%s is %dx%d, the restored frame %dx%d (height x width); they must be of one size'
                                % ((clip.gt.label(index),) + gt.shape[:2] + sr.shape[:2]))
            sequences.add(sr, gt, lq)
            measured = pool.submit(_measure_frame, sr, gt, lq, restorer.config.upscale, config)
            pending.append((index, lq, sr, measured))
            collect(_PENDING if concurrent_metrics else 0)
        collect(0)
        sequences.complete(rows)
    return ClipResult(clip.name, rows, seconds)


def _measure_frame(sr, gt, lq, scale, config):
    return measure(sr, gt, lq, scale, config.crop_border, config.measures('ssim'), config.bicubic), gt


class _Sequences:
    """Computes the metrics of a clip that depend on the frames before, of the network and of bicubic interpolation."""

    def __init__(self, scale, config):
        self._scale, self._border, self._stack = scale, config.crop_border, contextlib.ExitStack()
        kinds = ['edvr'] + ['bicubic'] * config.bicubic
        self._found = {(kind, name): SEQUENCES[name]() for name in config.temporal for kind in kinds}

    def __enter__(self):
        for sequence in self._found.values():
            self._stack.enter_context(sequence)
        return self

    def __exit__(self, *error):
        self._stack.close()

    def add(self, sr, gt, lq):
        if not self._found:
            return
        images = {'edvr': pixels.to_uint8(sr)}
        for (kind, _), sequence in self._found.items():
            if kind not in images:
                images[kind] = enlarge(lq, self._scale)
            sequence.add(self._cropped(images[kind]), self._cropped(gt))

    def _cropped(self, image):
        border = self._border
        return image[border:-border, border:-border] if border else image

    def complete(self, rows):
        """Adds the numbers to those of the frames."""
        for (kind, name), sequence in self._found.items():
            for row, number in zip(rows, sequence.numbers()):
                row['%s_%s' % (kind, name)] = number


class _Stopwatch:
    """Sums the time spent inside its `with` blocks."""

    def __init__(self):
        self.seconds = 0.

    def __enter__(self):
        self._started = time.perf_counter()

    def __exit__(self, *error):
        self.seconds += time.perf_counter() - self._started
