"""Where training data come from and what happens to them on the way."""
import dataclasses
import typing

from data_tools.base import paths
from data_tools.base.config import Config, option


@dataclasses.dataclass(frozen=True)
class DataConfig(Config):
    """Input of the training: shards of make_tfrecords -> batches."""

    TITLE = 'data'

    data_dir: str = option(paths.SHARDS, 'folder with the TFRecords that data_tools.make_tfrecords has made',
                           common=True, shown='data')
    input: str = option('tfrecords', 'null feeds constants of the same shape: what a step takes without its input',
                        choices=('tfrecords', 'null'))
    batch_size: int = option(32, 'samples a step on each device', low=1, common=True)
    patch_size: int = option(64, 'side of a training crop in LQ pixels; GT crops are scale times larger', low=4,
                             common=True)
    seed: int = option(0, 'of the order of samples and of crops, flips and noise', low=0, high=2 ** 31 - 1)
    deterministic: bool = option(False, 'the samples of a step depend on seed, step and the batch of all devices '
                                 'together only, also after a resume with another number of devices; costs speed: each '
                                 'device reads all records and decodes its share', common=True)

    flip: bool = option(True, 'flip horizontally and vertically, each for half of the samples')
    transpose: bool = option(True, 'swap rows and columns of half of the samples')
    reverse: bool = option(False, 'play half of the windows backwards')
    noise_kinds: typing.Tuple[str, ...] = option((), 'noise on LQ; each noisy sample draws one of these',
                                                 choices=('gaussian', 'salt_pepper', 'speckle'))
    noise_probability: float = option(0.5, 'share of samples that get noise, when noise_kinds are given', low=0,
                                      high=1)
    noise_strength: float = option(10.0, 'upper end of the noise drawn: standard deviation in levels '
                                   '(0-255) for gaussian, in percent of the value for speckle, percent of '
                                   'replaced pixels for salt_pepper', low=0, high=100)

    crops_per_record: int = option(1, 'crops taken of each window that is read (K); raise it when reading is the '
                                   'limit: a slow disk or network, or too little CPU', low=1, common=True)
    shuffle_buffer: int = option(1024, 'cropped samples that are mixed, each 0.26 MB at patch 64; raise it with '
                                 'crops_per_record. deterministic does without', low=1)
    read_threads: int = option(0, 'shards read at a time; 0: one per core, at most 16. Raise it for object stores',
                               low=0, high=256)
    map_threads: int = option(0, 'samples decoded at a time; 0: one per core. Lower it when other programs need the '
                              'cores', low=0, high=1024)
    read_buffer_kb: int = option(256, 'read at once from a shard, in kB; raise it (8192) for object stores, hard disks',
                                 low=4, high=2 ** 20)
    prefetch: int = option(2, 'batches kept ready; raise it when steps vary in time', low=1)
    skip_corrupt_records: bool = option(False, 'go on without records that are damaged or missing, and report which; '
                                        'else they end the training')
