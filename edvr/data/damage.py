"""Damaged records in training: found by name, or skipped, counted and told."""
import os
import re
import sys
import threading

import tensorflow.compat.v1 as tf

from data_tools.base.errors import UserError
from data_tools.record import shard_reader
from data_tools.record.manifest import Manifest


class Skipped:
    """Counts damaged records and tells each once, by shard and number."""

    def __init__(self):
        self._lock, self._seen = threading.Lock(), {}

    def add(self, folder, name, index, records, error):
        """Notes `records` records lost from number `index` of a shard."""
        with self._lock:
            if (folder, name, index) in self._seen:   # a later epoch meets it again
                return
            self._seen[folder, name, index] = records
            total = self.count(folder)
        print('warning: skipped record %d of %s: %s (%d skipped so far)'
              % (index, os.path.join(folder, name), error, total), file=sys.stderr, flush=True)

    def count(self, folder):
        """Different damaged records met so far in a set."""
        return sum(records for (where, _, _), records in self._seen.items() if where == folder)


skipped = Skipped()


def undamaged_records(config, manifest, shard, first):
    """The records of a shard that are sound; the others go to `skipped`.

    Args:
      shard: int32 scalar, number of the shard. first: int64 scalar, index of the first record to give.
    Returns:
      tf.data.Dataset of (shard, index, record), as `order.records`. Slower than TensorFlow's own reader, which cannot
      go on behind a damaged record.
    """
    def generate(number, start):
        entry = manifest.shards[int(number)]
        for index, _, record, error in shard_reader.walk(os.path.join(config.data_dir, entry.name), first=int(start)):
            if error is None:
                yield number, index, record
            else:
                lost = entry.records - index if error.final else 1
                skipped.add(config.data_dir, entry.name, index, lost, error)

    return tf.data.Dataset.from_generator(generate, (tf.int32, tf.int64, tf.string), ([], [], []), args=(shard, first))


def explain(error, config):
    """The UserError that says which record of which shard is damaged, for an error that TensorFlow raised; else None.

    Args:
      error: tf.errors.OpError out of a session run.
      config: DataConfig.
    """
    if config.input == 'null' or not config.data_dir:
        return None
    manifest = Manifest.read(config.data_dir)
    manifest.check_shards(config.data_dir)
    offset = re.search(r'(?:corrupted|truncated) record at (\d+)', str(error))
    if not offset and 'a record does not fit its manifest' not in str(error):
        return None
    for shard in manifest.shards:
        problem = _first_problem(os.path.join(config.data_dir, shard.name), offset and int(offset.group(1)))
        if problem:
            return UserError('record %d of %s is damaged (%s): copy that shard again or pack the set again; '
                             'python -m data_tools.check_tfrecords --data_dir=%s finds all such, '
                             '--skip_corrupt_records trains without them'
                             % (problem[0], os.path.join(config.data_dir, shard.name), problem[1], config.data_dir))
    return None


def _first_problem(path, offset):
    """(index, error) of the damaged record, at an offset if that is known."""
    with_place = shard_reader.walk(path, whole=offset is None)
    for index, at, _, error in with_place:
        if error is not None:
            return index, error
        if offset in (at, at + shard_reader.FRAME_HEAD):   # TensorFlow tells where the damaged part of the frame begins
            found = next(shard_reader.walk(path, first=index))
            if found[3] is not None:
                return index, found[3]
            return None   # sound here: TensorFlow met the damage at the same place of another shard
    return None
