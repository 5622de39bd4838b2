"""Options of the benchmark."""
import dataclasses
from typing import Iterator, List, Tuple

from data_tools.base.config import Config, option

SUBJECTS = ('input', 'step', 'restore', 'tiles', 'dcn', 'startup', 'packing', 'quality', 'all')


@dataclasses.dataclass(frozen=True)
class BenchmarkConfig(Config):
    """The benchmark program's own options."""

    TITLE = 'benchmark'

    what: Tuple[str, ...] = option(('step',), 'what to measure, one or more. input: reading --data_dir; step: a '
                       'training step, with the compiled operators in each of their ways; restore: a clip, per frame, '
                       'window by window and with kept features; tiles: large frames in the tiles of --tile=auto; '
                       'dcn: the deformable convolution alone, forward and with gradients; startup: the first frame '
                       'of edvr.infer, and frames from PNG to PNG; packing: make_lq and make_tfrecords beside an '
                       'LMDB; quality: PSNR over the time of training the demonstration; all: input to dcn, in one '
                       'table',
                       choices=SUBJECTS, common=True)
    json: str = option('', 'write the results to this file too', common=True, path='output')
    seconds: float = option(10., 'seconds to measure each case for, shared among the repeats', low=0.)
    repeats: int = option(5, 'number of measurements of each case; the median is reported', low=1)
    compare: Tuple[str, ...] = option((), 'ways to compute the deformable convolution to measure in turn and compare: '
                                      'native, tf, npu, cuda; for dcn also torchvision. Without it --kernels is '
                                      'measured',
                                      common=True)
    frame_size: str = option('180x320', 'restore, startup, packing: size of the LQ frames, HxW in pixels')
    frames: int = option(20, 'startup, packing: frames of a clip, at least a window and one', low=8)
    demo_dir: str = option('demo_output', 'quality: folder of edvr.demo, whose clips and shards it takes', path='input')
    tiled: Tuple[str, ...] = option(('540x960:8', '540x960:2'), 'tiles: sizes of LQ frames, each with the memory in GB '
                                    'that --tile=auto may use, HxW:GB (comma-separated)')
    dcn_size: str = option('20x64x64', 'dcn: images and size of the feature maps, NxHxW')
    step_ms: float = option(230., 'input: time in ms of a training step that the input must feed', low=0.001)
    step_samples: int = option(32, 'input: samples of such a step on all cards of this host', low=1)
    cards: int = option(8, 'input: cards of this host, named in the report only', low=1)
    overhead: bool = option(False, 'step: also measure the cost of guard, averages, hooks and log lines')
    recompute_alignment: bool = option(False, 'step: compute the alignment again in the backward pass: less memory, '
                                       'more time')

    def problems(self) -> Iterator[str]:
        if not self.what or ('all' in self.what and len(self.what) > 1):
            yield 'what is %r; it must be all, or one or more of the others' % ','.join(self.what)
        for name, count in (('frame_size', 2), ('dcn_size', 3)):
            try:
                valid = len(sizes(getattr(self, name))) == count
            except ValueError:
                valid = False
            if not valid:
                yield '%s is %r; it must be %s, positive numbers such as %s' % (
                    name, getattr(self, name), 'x'.join('NHW'[-count:]), type(self).__dataclass_fields__[name].default)
        try:
            valid = bool(self.tiled) and all(memory_gb > 0 for _, _, memory_gb in self.tiled_cases())
        except ValueError:
            valid = False
        if not valid:
            yield 'tiled is %r; each item must be HxW:GB, positive numbers such as 540x960:2' % ','.join(self.tiled)
        allowed = ('native', 'tf', 'npu', 'cuda') + (('torchvision',) if self.what == ('dcn',) else ())
        for name in self.compare:
            if name not in allowed:
                yield '--compare has %r; with --what=%s it may have %s' % (
                    name, ','.join(self.what), ', '.join(allowed))

    def tiled_cases(self) -> List[Tuple[int, int, float]]:
        """Returns the cases of `tiled`: height and width in pixels, memory in GB.

        Raises:
          ValueError: one is malformed.
        """
        cases = []
        for item in self.tiled:
            size, _, memory_gb = item.partition(':')
            height, width = sizes(size)
            cases.append((height, width, float(memory_gb)))
        return cases


@dataclasses.dataclass(frozen=True)
class PageConfig(Config):
    """The results from which a page is made."""

    TITLE = 'benchmark page'

    input_dir: str = option('benchmarks', 'folder of the JSON files; the page is written there too',
                            path='output')


def sizes(text: str) -> Tuple[int, ...]:
    """Returns the sizes in a text: (180, 320) for '180x320'.

    Raises:
      ValueError: they are not positive whole numbers.
    """
    numbers = tuple(int(part) for part in text.split('x'))
    if min(numbers) < 1:
        raise ValueError(text)
    return numbers
