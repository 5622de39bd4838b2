"""Reads batches of uint8 crops from shards of TFRecords. Seed and sample number determine every random decision."""
import typing

import numpy as np
import tensorflow.compat.v1 as tf

from data_tools.base.errors import UserError
from data_tools.base.worker_pool import available_cores
from data_tools.media.degradation import NONE
from data_tools.record.manifest import Manifest
from edvr.config.data import PACKED, DataConfig
from edvr.data import augment, input_meter, noise, on_the_fly, record_order, record_reader
from edvr.data.input_meter import InputMeter
from edvr.data.mixture import Mixture, Part

LQ, SET = 'lq', 'set'   # features of a batch


class Draw(typing.NamedTuple):
    """Describes how a sample is cut and augmented; scalars.

    Attributes:
      y, x: int32, first row and column of the crop, in pixels of the LQ of the set.
      flips: {argument of `augment.pixel_numbers`: bool}.
      interval: int32, distance of its frames, in those of the record.
      noise: float32 [3], uniform numbers for the noise.
    """
    y: tf.Tensor
    x: tf.Tensor
    flips: typing.Dict[str, tf.Tensor]
    interval: tf.Tensor
    noise: tf.Tensor


def train_dataset(config: DataConfig, num_frames: int, scale: int, batch_size: int, rank: int = 0, size: int = 1,
                  start_step: int = 0, meter: typing.Optional[InputMeter] = None, per_step: int = 1
                  ) -> tf.data.Dataset:
    """Builds endless batches of random crops for one device.

    Args:
      config: options of the data.
      num_frames: T, frames in a window of the model.
      scale: s, size of GT over size of LQ of the model.
      batch_size: N, samples in a batch of this device.
      rank, size: the number of this device, and the number of devices; each window goes to one of them in an epoch.
      start_step: number of the first batch, a multiple of per_step. With `config.deterministic` the batches are those
        of an uninterrupted run, and the samples of a step of all devices together depend on batch_size * size *
        per_step only. Otherwise the batches are new random ones, and reading starts near the position of an
        uninterrupted run.
      meter: counts what is read, or None.
      per_step: batches that this device takes in a step, such as one for each replica of a strategy in one process.
    Returns:
      dataset of ({'lq': uint8 [N, T, p, p, 3]}, uint8 [N, s*p, s*p, 3]), p = config.patch_size. Of several sets the
      features have SET too, the number of the set of each sample, int32 [N].
    Raises:
      UserError: there is no such set, its version is another, shards are missing, num_frames or scale differ from the
        model, a crop is larger than a frame, or there are fewer shards than devices.
    """
    if config.input == 'null':
        return _null_dataset(config, num_frames, scale, batch_size)
    mixture = open_sets(config, num_frames, scale, size)
    threads = config.map_threads or available_cores()
    samples = record_order.records(config, mixture, batch_size, rank, size, start_step, per_step)

    def cut(number: tf.Tensor, shard: tf.Tensor, index: tf.Tensor, serialized: tf.Tensor) -> typing.Tuple:
        crops = [lambda part=part: sample(config, part, scale, rank, start_step, number, serialized, shard, index)
                 for part in mixture.parts]
        if len(crops) == 1:
            return crops[0]()
        place = tf.searchsorted([part.first for part in mixture.parts], [shard], 'right')[0] - 1
        lq, gt = tf.switch_case(place, crops)
        side = config.patch_size
        return (tf.ensure_shape(lq, [num_frames, side, side, 3]),
                tf.ensure_shape(gt, [scale * side, scale * side, 3]), place)

    def measured(*record: tf.Tensor) -> typing.Tuple:
        began = tf.timestamp()   # operations with state run in the order in which they are built
        # with `deterministic` each device reads the records of all
        share = (size if config.deterministic else 1) / config.crops_per_record
        return input_meter.cost(record[-1], share, began, cut(*record), threads)

    def named(lq: tf.Tensor, gt: tf.Tensor, *more: tf.Tensor) -> typing.Tuple[typing.Dict[str, tf.Tensor], tf.Tensor]:
        if meter:
            gt, more = meter.counted(more[-1], gt), more[:-1]
        return dict(zip((LQ, SET), (lq,) + more)), gt

    dataset = samples.map(measured if meter else cut, threads)
    options = tf.data.Options()
    options.experimental_deterministic = config.deterministic
    dataset = dataset.with_options(options)
    if not config.deterministic:
        dataset = dataset.shuffle(config.shuffle_buffer, seed=record_order.mix(config.seed, start_step, rank))
    dataset = dataset.batch(batch_size, drop_remainder=True)
    return dataset.map(named).prefetch(config.prefetch)


def open_sets(config: DataConfig, num_frames: int, scale: int, size: int = 1) -> Mixture:
    """Reads the manifests of the sets, and does all checks that need no record.

    Args:
      config, num_frames, scale, size: arguments of `train_dataset`.
    Raises:
      UserError: the errors of `train_dataset`.
    """
    if not config.data_dir:
        raise UserError('--data_dir is not given: it is the folder with the TFRecords of data_tools.make_tfrecords')
    mixture = Mixture.of((folder, weight, Manifest.read(folder)) for folder, weight in config.sets)
    for part in mixture.parts:
        _check_set(config, part, num_frames, scale, size)
    return mixture


def _check_set(config, part, num_frames, scale, size):
    folder, manifest = part.folder, part.manifest
    from_gt = (manifest.job.get('degradation') or {}).get('kind') == NONE
    if from_gt != _from_gt(config):
        raise UserError('%s was packed %s --degradation=none, and LQ of the training is --degradation=%s: give '
                        '--degradation=%s, or another set' % (folder, 'with' if from_gt else 'without',
                                                              config.degradation, 'realistic' if from_gt else PACKED))
    pixels = _side(config, scale)
    for key, wanted in (('num_frames', num_frames), ('scale', 1 if from_gt else scale)):
        packed = getattr(manifest, key)
        if packed != wanted:
            advice = '--%s=%d' % (key, packed)
            if key == 'scale':   # 1: LQ has the size of GT, and a model with hr_in restores it
                advice = '--hr_in' if packed == 1 else advice + (' without --hr_in' if wanted == 1 else '')
            raise UserError('%s was packed with %s=%d, the model has %s=%d: give the model %s, or pack the set again'
                            % (folder, key, packed, key, wanted, advice))
    for height, width in manifest.sizes:
        if pixels > min(height, width):
            raise UserError('patch_size is %d, but %s has %s frames of %dx%d (height x width): a crop must fit into '
                            'the frame' % (config.patch_size, folder, 'GT' if from_gt else 'LQ', height, width))
    if max(config.intervals) > manifest.reach:
        longest = max(config.intervals)
        raise UserError('intervals has %d, but %s was packed with reach=%d: leave out longer intervals, or pack the '
                        'set again with --reach=%d' % (longest, folder, manifest.reach, longest))
    manifest.check_shards(folder)
    if len(manifest.shards) < size and not config.deterministic:
        raise UserError('%s has %d shards for %d devices; each device needs at least one: pack the set again with '
                        '--num_shards=%d or more' % (folder, len(manifest.shards), size, size))


def sample(config: DataConfig, part: Part, scale: int, rank: int, start_step: int, number: tf.Tensor,
           serialized: tf.Tensor, shard: typing.Optional[tf.Tensor] = None, index: typing.Optional[tf.Tensor] = None
           ) -> typing.Tuple[tf.Tensor, tf.Tensor]:
    """Cuts and augments one crop of a record.

    Args:
      config, scale, rank, start_step: arguments of `train_dataset`.
      part: the set.
      number: int64 scalar, number of the sample in the sequence of this device; with `config.deterministic` in the
        sequence of all devices.
      serialized: string scalar, the record.
      shard, index: int32, int64 scalars, position of the record in the mixture; None if unknown.
    Returns:
      lq uint8 [T, p, p, 3], gt uint8 [s*p, s*p, 3].
    """
    manifest = part.manifest
    place = {}
    if shard is not None:
        place = dict(shard=shard, index=index, crc=record_reader.expected_crc(manifest, shard - part.first, index))
    record = record_reader.Record(serialized, manifest.stored_frames, manifest.lq_tile, manifest.gt_tile, **place)
    drawn = draw(config, part, scale, rank, start_step, number, record['lq_height'], record['lq_width'])
    p = _side(config, scale)
    crops = []
    for side, factor in (('lq', 1), ('gt', manifest.scale)):
        pixels, frames, rows, columns = record.pixels(side, drawn.y * factor, drawn.x * factor, p * factor)
        if side == 'lq' and manifest.reach > 1:
            steps = tf.range(manifest.num_frames) - manifest.num_frames // 2
            frames = tf.gather(frames, manifest.stored_frames // 2 + drawn.interval * steps)
        crop = tf.gather(pixels, augment.pixel_numbers(frames, rows, columns, **drawn.flips))
        crop.set_shape([manifest.num_frames if side == 'lq' else 1, p * factor, p * factor, 3])
        crops.append(record_reader.recorrelate(crop) if getattr(manifest, side + '_tile') else crop)
    lq, gt = crops[0], crops[1][0]
    if _from_gt(config):
        lq = on_the_fly.degrade(lq, scale, _seed(config, rank, start_step, 'degradation'), number)
    if config.noise_kinds:
        seed = tf.stack([tf.constant(_seed(config, rank, start_step, 'noise'), tf.int64), number])
        lq = noise.add_noise(lq, drawn.noise, seed, config.noise_kinds, config.noise_probability,
                             config.noise_strength)
    return lq, gt


def draw(config: DataConfig, part: Part, scale: int, rank: int, start_step: int, number: tf.Tensor, height: tf.Tensor,
         width: tf.Tensor) -> Draw:
    """Draws how a sample is cut and augmented.

    Args:
      config, part, scale, rank, start_step, number: arguments of `sample`.
      height, width: int32 scalars, size of the LQ of the record.
    """
    def uniform(shape: typing.List[int], use: str) -> tf.Tensor:
        seed = tf.constant(_seed(config, rank, start_step, use), tf.int64)
        return tf.random.stateless_uniform(shape, tf.stack([seed, number]))

    numbers = uniform([9], 'sample')
    y, x = (_below(numbers[i], length - (_side(config, scale) - 1)) for i, length in enumerate((height, width)))
    wanted = dict(horizontal=config.flip, vertical=config.flip, transpose=config.transpose, backwards=config.reverse)
    flips = {key: numbers[2 + i] < 0.5 if wanted[key] else tf.constant(False) for i, key in enumerate(wanted)}
    interval = tf.constant(1)
    if part.manifest.reach > 1:
        interval = tf.gather(config.intervals, _below(uniform([], 'interval'), len(config.intervals)))
    return Draw(y, x, flips, interval, numbers[6:])


def _from_gt(config):
    """Returns whether LQ is made of the LQ of the set, which is GT."""
    return config.degradation != PACKED


def _side(config, scale):
    """Returns the side of a crop in pixels of the LQ of the set."""
    return config.patch_size * (scale if _from_gt(config) else 1)


def _seed(config, rank, start_step, use):
    start, rank = (0, 0) if config.deterministic else (start_step, rank)
    return record_order.mix(config.seed, start, rank, use)


def _below(uniform, end):
    """Converts a number in [0, 1) to an integer in [0, end)."""
    return tf.minimum(tf.cast(uniform * tf.cast(end, tf.float32), tf.int32), end - 1)


def _null_dataset(config, num_frames, scale, batch_size):
    p = config.patch_size
    lq = np.full([batch_size, num_frames, p, p, 3], 128, np.uint8)
    gt = np.full([batch_size, scale * p, scale * p, 3], 128, np.uint8)
    return tf.data.Dataset.from_tensors(({'lq': lq}, gt)).repeat()
