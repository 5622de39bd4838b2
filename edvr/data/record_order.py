"""The order of records: assigns shards or records to devices. The sequence can start at any position."""
import hashlib
import os
import typing

import numpy as np
import tensorflow.compat.v1 as tf

from data_tools.base.worker_pool import available_cores
from data_tools.record import record_format
from edvr.config.data import DataConfig
from edvr.data import damage
from edvr.data.mixture import Mixture, Part

_TABLE_LENGTH = 65536   # shards in the sequence before it repeats: hundreds of epochs, and small in the graph
_RECORDS_AHEAD = 2       # records read ahead of each open shard; a raw record of 720p has 3.6 MB
FOREVER = 2 ** 62
MISSING = b'\0' * record_format.HEADER_BYTES   # replaces a missing record; no record begins like this


def mix(*numbers: typing.Union[int, str]) -> int:
    """Mixes one seed from several numbers and words: in [0, 2**31), the same on every machine."""
    return int.from_bytes(hashlib.sha256(repr(numbers).encode()).digest()[:4], 'little') >> 1


def shard_sequence(count: int, seed: int, rank: int, size: int) -> np.ndarray:
    """Returns the numbers of the shards that a device reads, one epoch after another.

    The shards are assigned again in each epoch. Together the devices read every shard once.

    Args:
      count: number of shards in the set.
      seed: of the order.
      rank, size: the number of this device, and the number of devices.
    Returns:
      int32 [n].
    """
    epochs = max(1, min(1000, _TABLE_LENGTH // count))
    return np.concatenate([np.random.RandomState(mix(seed, epoch)).permutation(count)[rank::size]
                           for epoch in range(epochs)]).astype(np.int32)


def records(config: DataConfig, mixture: Mixture, batch_size: int, rank: int, size: int, start_step: int,
            per_step: int = 1) -> tf.data.Dataset:
    """Returns the records for a device, each `config.crops_per_record` times.

    With `config.deterministic` all devices share one sequence, and each reads every size-th record of it. Then the
    records of a step and their numbers depend only on batch_size * size * per_step. Otherwise each device reads its own
    shards. Of several sets, each record, or without `config.deterministic` each sample, is of a set that is drawn by
    weight.

    Args:
      start_step: number of the first batch.
      per_step: batches that a device takes in a step, see `input_pipeline.train_dataset`.
    Returns:
      dataset of (number in the sequence int64, shard of the mixture int32, index in the shard int64, record string),
      scalars. MISSING replaces a record that its shard lacks.
    """
    crops = config.crops_per_record
    if config.deterministic:
        step, batch = start_step // per_step, batch_size * per_step   # of a step of this device
        position = step // crops * batch * size
        found = _mixed(mixture, mix(config.seed, 'mixture'), position, lambda part, before: _in_order(
            config, part, *_start(config, part, 0, 1, before))).shard(size, rank)
        if crops > 1:
            # crops of one window go to different steps: the records of a step fill K steps, each has all the windows
            found = found.window(batch, drop_remainder=True).flat_map(
                lambda *parts: tf.data.Dataset.zip(parts).repeat(crops)).skip(step % crops * batch)
        numbers = tf.data.Dataset.range(start_step * batch_size * size + rank, FOREVER, size)
    else:
        position = start_step * batch_size   # draws are new ones: about as many of each set lie before it

        def interleaved(part: Part, before: int) -> tf.data.Dataset:
            sequence, entry, _ = _start(config, part, rank, size, before // crops)
            return _interleaved(config, part, sequence, entry, size, len(mixture.parts))

        found = _mixed(mixture, mix(config.seed, start_step, rank, 'mixture'), position, interleaved)
        numbers = tf.data.Dataset.range(FOREVER)
    return tf.data.Dataset.zip((numbers, found)).map(lambda number, item: (number,) + tuple(item))


def _mixed(mixture: Mixture, seed: int, position: int,
           records_of: typing.Callable[[Part, int], tf.data.Dataset]) -> tf.data.Dataset:
    """Returns the drawn records from a position on.

    Args:
      mixture: the sets.
      seed: of the draws.
      position: number of draws before.
      records_of: function (part, number of its records before) -> dataset of them.
    """
    if len(mixture.parts) == 1:
        return records_of(mixture.parts[0], position)
    draws = mixture.draws(seed)
    streams = [records_of(part, int(before)) for part, before in zip(mixture.parts, draws.before(position))]
    return tf.data.experimental.choose_from_datasets(streams, draws.dataset(position))


def _start(config, part, rank, size, before):
    """Returns (the shards of a device in order, the entry to start with, the record in it) after `before` records."""
    sequence = shard_sequence(len(part.manifest.shards), config.seed, rank, size)
    return (sequence,) + find_place(np.array([shard.records for shard in part.manifest.shards])[sequence], before)


def _shards(sequence, entry):
    """Returns a dataset of (shard of the set int32, its turn int64), from an entry of the sequence on."""
    shards = tf.data.Dataset.from_tensor_slices(np.roll(sequence, -entry)).repeat()
    return tf.data.Dataset.zip((shards, tf.data.Dataset.range(FOREVER)))


def _in_order(config, part, sequence, entry, inside):
    """Returns the records of a set one shard after the other; `inside` of the first shard are skipped."""
    read_shard = _shard_reader(config, part)

    def read(shard, turn):
        first = tf.cond(tf.equal(turn, 0), lambda: tf.constant(inside, tf.int64), lambda: tf.constant(0, tf.int64))
        return read_shard(shard, first)

    return _shards(sequence, entry).flat_map(read)


def _interleaved(config, part, sequence, entry, size, sets):
    """Returns the records of a set, of several shards in turn, each `config.crops_per_record` times."""
    crops, threads = config.crops_per_record, (config.read_threads or min(16, available_cores())) // sets
    streams = max(1, min(threads, len(part.manifest.shards) // size))
    read_shard = _shard_reader(config, part)

    # A separate thread reads each shard ahead, and ends before its iterator ends. The threads of a parallel
    # interleave release their shard later: in TensorFlow 1.15 after the session, which crashes the process.
    def read_ahead(shard: tf.Tensor, turn: tf.Tensor) -> tf.data.Dataset:
        items = read_shard(shard, tf.constant(0, tf.int64))
        if crops > 1:   # here, in the thread of the shard: a later function would wait for the decoding
            items = items.flat_map(lambda *item: tf.data.Dataset.from_tensors(item).repeat(crops))
        return items.prefetch(_RECORDS_AHEAD * crops)

    return _shards(sequence, entry).interleave(read_ahead, streams, 1)


def _shard_reader(config, part):
    """Returns a function (shard int32 scalar, first record int64 scalar) -> dataset of (shard, index, record)."""
    shards = part.manifest.shards
    if config.skip_corrupt_records:
        passes = damage.Passes(part.folder, len(shards))
        return lambda shard, first: damage.undamaged_records(part, shard, first, passes, config.deterministic)
    names = tf.constant([os.path.join(part.folder, shard.name) for shard in shards])
    counts = tf.constant([shard.records for shard in shards], tf.int64)

    def read(shard, first):
        found = tf.data.TFRecordDataset(tf.gather(names, shard), buffer_size=config.read_buffer_kb * 1024).skip(first)
        # TensorFlow reads a shard that was cut between two records without an error
        found = found.concatenate(tf.data.Dataset.from_tensors(MISSING).repeat())
        same = tf.data.Dataset.from_tensors(shard + part.first).repeat()
        return tf.data.Dataset.zip((same, tf.data.Dataset.range(first, tf.gather(counts, shard)), found))
    return read


def find_place(counts: np.ndarray, position: int) -> typing.Tuple[int, int]:
    """Finds the record at `position` of an endless sequence of shards.

    Args:
      counts: int [n], records of each shard of the sequence, which is repeated.
      position: number of the record.
    Returns:
      (entry of `counts`, index in that shard).
    """
    ends = np.cumsum(counts)
    position %= int(ends[-1])
    entry = int(np.searchsorted(ends, position, 'right'))
    return entry, int(position - (ends[entry - 1] if entry else 0))
