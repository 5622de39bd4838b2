"""Reports the damaged records that training meets by shard and number, or skips and counts them."""
import itertools
import os
import re
import sys
import threading
import typing

import numpy as np
import tensorflow.compat.v1 as tf

from data_tools.base.errors import UserError
from data_tools.record import record_format, shard_reader
from data_tools.record.manifest import Manifest, Shard
from edvr.config.data import DataConfig
from edvr.data import record_reader
from edvr.data.mixture import Mixture, Part

NOTHING_LEFT = 'skip_corrupt_records: every record of'   # the error begins with it, so that `explain` detects it


class Skipped:
    """Counts damaged and missing records and reports each once, by shard and number."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: typing.Dict[str, typing.Dict[str, typing.Set[int]]] = {}

    def add(self, folder: str, name: str, index: int, records: int, error: Exception) -> None:
        """Counts `records` lost records of a shard, from number `index` on."""
        with self._lock:
            seen = self._seen.setdefault(folder, {}).setdefault(name, set())
            before = len(seen)
            seen.update(range(index, index + records))
            if len(seen) == before:   # a later epoch reads it again
                return
            total = self.count(folder)
        what = 'record %d' % index if records == 1 else 'the last %d records' % records
        print('warning: skipped %s of %s: %s (%d skipped so far)'
              % (what, os.path.join(folder, name), error, total), file=sys.stderr, flush=True)

    def count(self, folder: str) -> int:
        """Returns the number of distinct damaged or missing records of a set so far."""
        return sum(map(len, self._seen.get(folder, {}).values()))


skipped = Skipped()


class Passes:
    """Detects that no record of a set is valid: reading would otherwise continue forever without a batch."""

    def __init__(self, folder: str, shards: int) -> None:
        """Starts without a pass over the `shards` shards of the set in `folder`."""
        self._folder, self._shards = folder, shards
        self._lock = threading.Lock()
        self._barren: typing.Set[int] = set()

    def ended(self, shard: int, valid: bool) -> None:
        """Records a pass over a complete shard.

        Args:
          shard: its number.
          valid: whether it has valid records.
        Raises:
          UserError: the latest passes over all shards found no valid record.
        """
        with self._lock:
            (self._barren.discard if valid else self._barren.add)(shard)
            if len(self._barren) == self._shards:
                raise UserError('%s %s is damaged or missing: copy the set again, or pack it again'
                                % (NOTHING_LEFT, self._folder))


def undamaged_records(part: Part, shard: tf.Tensor, first: tf.Tensor, passes: Passes, fills: bool) -> tf.data.Dataset:
    """Returns the valid records of a shard; the others are added to `skipped`.

    Args:
      part: the set.
      shard: int32 scalar, number of the shard in the set.
      first: int64 scalar, index of the first record to read.
      passes: of the set.
      fills: whether a valid record takes the place of each other one, so that the number of records remains; then the
        same ones whatever `first` is.
    Returns:
      dataset of (shard of the mixture int32, index int64, record string), scalars. It is slower than TensorFlow's own
      reader, which cannot continue after a damaged record.
    """
    def generate(number: int, start: int) -> typing.Iterator:
        records = _filled if fills else _valid
        for found, index, record in records(part, int(number), int(start), passes):
            yield np.int32(found + part.first), index, record

    return tf.data.Dataset.from_generator(generate, (tf.int32, tf.int64, tf.string), ([], [], []), args=(shard, first))


def _valid(part, number, start, passes):
    """Yields (shard, index, record) of the valid records of a shard."""
    valid = False
    for index, record in _places(part, number, start):
        if record is not None:
            valid = True
            yield number, index, record
    if valid or start == 0:
        passes.ended(number, valid)


def _filled(part, number, start, passes):
    """Yields (shard, index, record) for each place of a shard: its record, or the valid one before it.

    Without one before it, it is the first valid one after it, or that of the next shard that has any.
    """
    held, leading = None, 0
    for place, record in _places(part, number, 0):
        if record is None and held is None:
            leading += 1
            continue
        if record is not None:
            item = number, place, record
            if held is None:
                yield from itertools.repeat(item, max(0, leading - start))
            held = item
        if place >= start:
            yield held
    passes.ended(number, held is not None)
    if held is None:
        shards = part.manifest.shards
        for other in itertools.islice(itertools.cycle(range(len(shards))), number + 1, number + len(shards)):
            for place, record in _places(part, other, 0):
                if record is not None:
                    yield from itertools.repeat((other, place, record), shards[number].records - start)
                    return
            passes.ended(other, False)


def _places(part, number, start):
    """Yields (index, record) of a shard from a record on, with None for one that is damaged or missing."""
    entry = part.manifest.shards[number]
    for index, _, record, error in checked_records(part.folder, part.manifest, entry, start):
        lost = 0 if error is None else entry.records - index if error.final else 1
        if error is None:
            yield index, record
        else:
            skipped.add(part.folder, entry.name, index, lost, error)
        for place in range(index, index + lost):
            yield place, None


def checked_records(folder: str, manifest: Manifest, shard: Shard, first: int = 0
                    ) -> typing.Iterator[shard_reader.Item]:
    """Yields what `shard_reader.walk` yields for a Shard of a set, also checked against the manifest.

    The indices end at the number of records of the manifest. A shard that cannot be read is an error of its first
    record.
    """
    try:
        for index, at, record, error in shard_reader.walk(os.path.join(folder, shard.name), first=first,
                                                          expected=shard.records):
            if index >= shard.records:
                return
            problem = None if record is None else manifest.mismatch(shard, index, record_format.header(record))
            if problem:
                record, error = None, record_format.RecordError(problem)
            yield max(index, first), at, record, error
    except UserError as error:
        yield first, 0, None, record_format.RecordError(str(error), final=True)


def explain(error: tf.errors.OpError, config: DataConfig) -> typing.Optional[UserError]:
    """Returns the UserError that names the damaged record and its shard, or None if the error has another cause.

    Args:
      error: that a session run raised.
      config: the options of the data that it read.
    Raises:
      UserError: shards are missing or have another size than when packed.
    """
    if config.input == 'null' or not config.data_dir:
        return None
    text = str(error)
    nothing_left = re.search(NOTHING_LEFT + '.*', text)
    if nothing_left:
        return UserError(nothing_left.group())
    mixture = Mixture.of((folder, weight, Manifest.read(folder)) for folder, weight in config.sets)
    for part in mixture.parts:
        part.manifest.check_shards(part.folder)
    offset = re.search(r'(?:corrupted|truncated) record at (\d+)', text)
    place = re.search(r'%s.*shard: \D*(\d+)\D* record: \D*(\d+)' % record_reader.MISFIT, text)
    if place:
        index, (part, shard) = int(place.group(2)), mixture.shard(int(place.group(1)))
        errors = (item for item in checked_records(part.folder, part.manifest, shard, index) if item[3])
        index, problem = next(((item[0], item[3]) for item in errors), (index, _NOW_SOUND))
        return _damaged(part.folder, shard, index, problem)
    if offset:
        for part in mixture.parts:
            for shard in part.manifest.shards:
                index, problem = _problem_at(part.folder, part.manifest, shard, int(offset.group(1)))
                if problem:
                    return _damaged(part.folder, shard, index, problem)
    return _unlike_manifest(mixture) or _unreadable(mixture, text)


def _unlike_manifest(mixture):
    """Returns the UserError of a set whose first records are not those of its manifest, which may have been edited."""
    for part in mixture.parts:
        for shard in part.manifest.shards:
            for index, _, _, problem in itertools.islice(checked_records(part.folder, part.manifest, shard), 1):
                if problem:
                    return _damaged(part.folder, shard, index, problem)
    return None


def _unreadable(mixture, text):
    """Returns the UserError of a shard that could not be read for a moment: it can be now."""
    for part in mixture.parts:
        for shard in part.manifest.shards:
            path = os.path.join(part.folder, shard.name)
            found = re.search(re.escape(path) + '; ([^\n]*)', text)
            if found:
                return UserError('%s could not be read (%s), and can be now: check the disk or the network behind it, '
                                 'and start again' % (path, found.group(1).strip()))
    return None


_NOW_SOUND = 'it is sound now, so it was changed while it was read'


def _damaged(folder, shard, index, problem):
    return UserError('record %d of %s is damaged (%s): copy that shard again or pack the set again; '
                     'python -m data_tools.check_tfrecords --data_dir=%s finds all damaged records, '
                     '--skip_corrupt_records trains without them'
                     % (index, os.path.join(folder, shard.name), problem, folder))


def _problem_at(folder, manifest, shard, offset):
    """Returns (index, error) of the damaged record at an offset of a shard; (None, None) if there is none."""
    for index, at, _, error in shard_reader.walk(os.path.join(folder, shard.name), whole=False):
        if error is not None:
            return index, error
        if offset in (at, at + shard_reader.FRAME_HEAD):   # TensorFlow reports the damaged part of the frame
            # this record is valid: TensorFlow reported the same offset of another shard
            return next(((index, error) for _, _, _, error in checked_records(folder, manifest, shard, index)),
                        (None, None))
    return None, None
