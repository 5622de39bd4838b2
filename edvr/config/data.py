"""Options of the training data: source, order, augmentation, speed."""
import dataclasses
import os
import re
import typing

from data_tools.base import paths
from data_tools.base.config import Config, option
from data_tools.media.noises import NOISES, describe_strengths

PACKED = 'packed'


@dataclasses.dataclass(frozen=True)
class DataConfig(Config):
    """Input of the training: shards of make_tfrecords -> batches."""

    TITLE = 'data'

    data_dir: str = option(paths.SHARDS, 'folder with the TFRecords of data_tools.make_tfrecords; several with their '
                           'weights are mixed: A:2,B:1 draws two samples of A for one of B', common=True, shown='data',
                           may_change=True, local=True, path='input', gfile=True)
    input: str = option('tfrecords', 'null feeds constants of the same shape, to measure a step without its input',
                        choices=('tfrecords', 'null'))
    batch_size: int = option(32, 'samples in a step on each device', low=1, common=True)
    micro_batches: int = option(1, 'slices in which a device computes the batch of a step, one after the other, adding '
                                'their gradients: the same step in the memory of one slice. Must divide batch_size',
                                low=1, common=True, may_change=True)
    patch_size: int = option(64, 'side of a training crop in LQ pixels; GT crops are scale times larger', low=4,
                             common=True, compared=True)
    seed: int = option(0, 'seed of the order of samples, and of crops, flips and noise', low=0, high=2 ** 31 - 1,
                       adapter=('tf_random_seed',), compared=True)
    deterministic: bool = option(False, 'make the samples of a step depend only on seed, step and the whole batch of '
                                 'all devices, also after a resume with another number of devices; slower: each '
                                 'device reads all records and decodes its share', common=True)

    flip: bool = option(True, 'flip horizontally and vertically, each for half of the samples')
    transpose: bool = option(True, 'swap rows and columns of half of the samples')
    intervals: typing.Tuple[int, ...] = option((1,), 'distances of neighbouring frames in frame_intervals of the set; '
                                               'each sample draws one. Above 1 the set must be packed with --reach',
                                               low=1)
    reverse: bool = option(False, 'play half of the windows backwards')
    degradation: str = option(PACKED, 'LQ of the samples: packed (as the set has it) or realistic, made anew for each '
                              'sample of its GT crops: blur, resizing, noise and JPEG, twice, without video codecs. '
                              'realistic needs a set of make_tfrecords --make_lq --degradation=none --scale=1, and up '
                              'to 36 ms of a core for a sample of 5 x 256 x 256',
                              choices=(PACKED, 'realistic'))
    noise_kinds: typing.Tuple[str, ...] = option((), 'noise on LQ; each noisy sample draws one of these',
                                                 choices=tuple(NOISES))
    noise_probability: float = option(0.5, 'share of samples that get noise, when noise_kinds are given', low=0,
                                      high=1)
    noise_strength: float = option(10.0, 'largest noise: ' + describe_strengths(), low=0, high=100)

    crops_per_record: int = option(1, 'crops from each window that is read (K); raise it when reading limits the '
                                   'speed: a slow disk or network, or too little CPU', low=1, common=True)
    shuffle_buffer: int = option(1024, 'cropped samples in the shuffle buffer, each 0.26 MB at patch 64; raise it '
                                 'with crops_per_record. deterministic does not use it', low=1, may_change=True)
    read_threads: int = option(0, 'shards read in parallel; 0: one per core, at most 16. Raise it for object stores',
                               low=0, high=256, may_change=True, local=True)
    map_threads: int = option(0, 'samples decoded in parallel; 0: one per core. Lower it when other programs need the '
                              'cores', low=0, high=1024, may_change=True, local=True)
    read_buffer_kb: int = option(256, 'size of a read from a shard in kB; raise it (8192) for object stores and '
                                 'hard disks', low=4, high=2 ** 20, may_change=True, local=True)
    prefetch: int = option(2, 'batches prepared ahead; raise it when the time of steps varies', low=1,
                           may_change=True, local=True)
    skip_corrupt_records: bool = option(False, 'skip records that are damaged or missing, and report them; without it '
                                        'they end the training with an error. With deterministic a neighbour takes the '
                                        'place of each, so that a resumed run is the uninterrupted one')

    @property
    def sets(self) -> typing.Tuple[typing.Tuple[str, float], ...]:
        """Returns (folder, weight) of each set of data_dir; a folder that exists may have commas in its name."""
        texts = [self.data_dir] if os.path.isdir(self.data_dir) else self.data_dir.split(',')
        return tuple(_weighted(text) for text in texts)

    def problems(self) -> typing.Iterator[str]:
        if self.batch_size % self.micro_batches:
            divisors = [count for count in range(1, self.batch_size + 1) if self.batch_size % count == 0]
            yield ('micro_batches is %d, which does not divide batch_size (%d); use %d' % (
                self.micro_batches, self.batch_size,
                next((count for count in divisors if count > self.micro_batches), self.batch_size)))
        if not self.intervals:
            yield 'intervals is empty; it must be one number or more, such as 1,2,3'
        folders = [folder for folder, _ in self.sets]
        for folder, weight in self.sets:
            if not folder and len(folders) > 1:
                yield 'data_dir is %r; between two commas there must be a folder' % self.data_dir
            if not 0 < weight < float('inf'):
                yield ('data_dir gives %s the weight %g; a weight must be above 0: leave the set out to draw nothing '
                       'of it' % (folder, weight))
            if folders.count(folder) > 1:
                yield 'data_dir names %s twice; give it one weight' % folder


def _weighted(text: str) -> typing.Tuple[str, float]:
    """Returns (folder, weight) of FOLDER or FOLDER:WEIGHT."""
    match = re.match(r'(.+):([-+]?[0-9]*\.?[0-9]+(?:e[-+]?[0-9]+)?|[-+]?(?:nan|inf))$', text, re.I | re.S)
    if match and not os.path.isdir(text):
        return match.group(1), float(match.group(2))
    return text, 1.
