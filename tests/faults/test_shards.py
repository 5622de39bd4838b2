"""Shards that are damaged, cut, swapped or replaced, before training or while it reads, and manifests that are edited.

Every record of the set gives one sample, the whole frame, so a sample shows which record was read.
"""
import copy
import os
import shutil
import struct

import numpy as np
import pytest
from facts import raises_facts
from packed import edit_json, pack, write_clips

from data_tools.base.errors import UserError
from data_tools.packing.verification import check_set
from data_tools.record.manifest import Manifest
from edvr.config import DataConfig
from edvr.data import damage, input_pipeline
from edvr.data.input_pipeline import tf
from edvr.training.training_run import explained_failures

FRAMES, SCALE, PATIENCE_MS = 3, 4, 60000


class Reader:
    """Training's input of a set; its graph is built once, while the set is whole."""

    def __init__(self, folder, **options):
        self._config = DataConfig(data_dir=folder, batch_size=1, patch_size=8, deterministic=True, flip=False,
                                  transpose=False, read_buffer_kb=4, map_threads=1, prefetch=1, **options)
        self._graph = tf.Graph()
        with self._graph.as_default():
            dataset = input_pipeline.train_dataset(self._config, FRAMES, SCALE, 1)
            self._iterator = tf.data.make_initializable_iterator(dataset)
            self._next = self._iterator.get_next()
        self._session = tf.Session(graph=self._graph)

    def start(self):
        """What training checks before it reads."""
        input_pipeline.open_sets(self._config, FRAMES, SCALE)

    def read(self, count, disturb=lambda: None, after=0):
        """Samples in their order, list of bytes; calls `disturb` after so many of them."""
        patience = tf.RunOptions(timeout_in_ms=PATIENCE_MS)
        samples = []
        with explained_failures(self._config):
            self._session.run(self._iterator.initializer)
            for number in range(count):
                if number == after:
                    disturb()
                features, gt = self._session.run(self._next, options=patience)
                samples.append(features['lq'].tobytes() + gt.tobytes())
        return samples


class Set:
    """A set of shards that can be restored, and the readers of it.

    names: of the shards. foreign: bytes of a sound shard of another set, as long as these.
    """

    def __init__(self, root, encoding):
        source = write_clips(root / 'clips', (7, 5), (32, 32))
        self.folder = pack(source, root / 'set', encoding)
        other = pack(write_clips(root / 'others', (7, 5), (32, 32), seed=1), root / 'other', encoding)
        self.manifest = Manifest.read(self.folder)
        self.names = [shard.name for shard in self.manifest.shards]
        self._bytes = {name: self.bytes(name) for name in self.names + ['manifest.json']}
        with open(os.path.join(other, self.names[0]), 'rb') as file:
            self.foreign = file.read()
        self.reader = Reader(self.folder)
        self.skipper = Reader(self.folder, skip_corrupt_records=True)
        self.samples = self.reader.read(2 * self.manifest.records)

    def path(self, name):
        return os.path.join(self.folder, name)

    def bytes(self, name):
        with open(self.path(name), 'rb') as file:
            return file.read()

    def write(self, name, data):
        with open(self.path(name), 'wb') as file:
            file.write(data)

    def restore(self):
        for name, data in self._bytes.items():
            self.write(name, data)

    def fields(self, name):
        """(start, end) of the parts of a shard: of each frame around a record and of the record."""
        data, at, parts = self._bytes[name], 0, []
        while at < len(data):
            length, = struct.unpack_from('<Q', data, at)
            record = at + 12
            tables_at = struct.unpack_from('<I', data, record + 4 * 14)[0]
            ends = [at, at + 8, record] + [record + 4 * i for i in range(1, 17)] + [
                record + tables_at, record + length, record + length + 4]
            parts += list(zip(ends, ends[1:]))
            at = record + length + 4
        return parts


@pytest.fixture(scope='module', params=['raw', 'tiles'])
def shards(request, tmp_path_factory):
    return Set(tmp_path_factory.mktemp(request.param), request.param)


def judge(campaign, kind, shards, fault, description, names):
    """What check_tfrecords, training's start, training and training that skips make of a fault.

    Args:
      fault: function that damages the set.
      names: of the shards that it damages.
    """
    try:
        shards.restore()
        fault()
        campaign.attempt(kind + ', check_tfrecords', lambda: check(shards.folder), lambda _: False, description, names)
        try:
            shards.reader.start()
        except UserError as error:
            campaign.record(kind + ', start', 'reported' if any(name in str(error) for name in names) else 'silent',
                            '%s: %s' % (description, error))
            return   # training does not begin
        read(campaign, kind, shards, lambda: None, 0, description, names)
    finally:
        shards.restore()


def read(campaign, kind, shards, fault, after, description, names):
    """Training, and training that skips, of a set on which `fault` falls after so many samples."""
    def undo_and(function):
        shards_before = {name: shards.bytes(name) for name in shards.names if os.path.exists(shards.path(name))}
        try:
            return function()
        finally:
            for name, data in shards_before.items():
                shards.write(name, data)

    campaign.attempt(kind + ', training', lambda: undo_and(lambda: shards.reader.read(
        len(shards.samples), fault, after)), lambda found: found == shards.samples, description, names)
    damage.skipped = damage.Skipped()

    def skip():
        found = undo_and(lambda: shards.skipper.read(len(shards.samples), fault, after))
        if damage.skipped.count(shards.folder):
            assert set(found) <= set(shards.samples), 'samples that are not in the set'
            lost = len(set(shards.samples) - set(found[after:]))
            assert damage.skipped.count(shards.folder) >= lost, 'fewer counted than lost'
            raise UserError('skipped, with a warning that names ' + names[0])
        return found

    # with records left out, others come earlier: only what is not skipped has to be equal
    campaign.attempt(kind + ', skipping', skip, lambda found: found == shards.samples, description, names)


def check(folder):
    """Raises UserError with what check_tfrecords reports; returns 0 for a sound set."""
    found = []
    if check_set(folder, deep=True, report=found.append):
        raise UserError('; '.join(found))
    return 0


def test_bit_flips(campaign, shards):
    """Half of them in the fields of records and of the frames around them, half anywhere."""
    for number in range(campaign.amount(6, 250)):
        name = shards.names[campaign.rng.randint(len(shards.names))]
        data = bytearray(shards.bytes(name))
        parts = shards.fields(name)
        start, end = parts[campaign.rng.randint(len(parts))] if number % 2 else (0, len(data))
        place, bit = campaign.rng.randint(start, end), campaign.rng.randint(8)
        data[place] ^= 1 << bit
        judge(campaign, 'shard: bit flip', shards, lambda name=name, data=data: shards.write(name, data),
              '%s, byte %d, bit %d' % (name, place, bit), [name])


def places_to_cut(campaign, shards, name, count):
    """Offsets: ends of records, inside the 12 bytes before one, anywhere."""
    ends = [start for start, end in shards.fields(name) if end - start == 8]
    size = len(shards.bytes(name))
    for number in range(count):
        end = int(ends[campaign.rng.randint(len(ends))])
        yield (end, end + campaign.rng.randint(1, 12), campaign.rng.randint(size))[number % 3]


def test_cut_before_training(campaign, shards):
    for place in places_to_cut(campaign, shards, shards.names[1], campaign.amount(3, 100)):
        judge(campaign, 'shard: cut', shards, lambda place=place: os.truncate(shards.path(shards.names[1]), place),
              'at %d' % place, [shards.names[1]])


def test_cut_while_training_reads(campaign, shards):
    name = shards.names[2]
    for place in places_to_cut(campaign, shards, name, campaign.amount(6, 100)):
        after = int(campaign.rng.randint(len(shards.samples) // 2))
        read(campaign, 'shard: cut while reading', shards, lambda place=place: os.truncate(shards.path(name), place),
             after, 'at %d after %d samples' % (place, after), [name])
        shards.restore()


def test_shards_that_are_others(campaign, shards):
    """Swapped, deleted, doubled, zeroed, foreign; each before training and while it reads."""
    first, second, third = shards.names
    data = {name: shards.bytes(name) for name in shards.names}
    zeros = bytes(len(data[second]))
    record = shards.fields(second)
    starts = [start for start, end in record if end - start == 8] + [len(data[second])]
    parts = [data[second][a:b] for a, b in zip(starts, starts[1:])]

    def swap_files():
        shards.write(second, data[third])
        shards.write(third, data[second])

    faults = {'swapped files': swap_files,
              'swapped records': lambda: shards.write(second, b''.join([parts[1], parts[0]] + parts[2:])),
              'doubled record': lambda: shards.write(second, b''.join([parts[0], parts[0]] + parts[2:])),
              'doubled': lambda: shards.write(second, 2 * data[second]),
              'deleted': lambda: os.remove(shards.path(second)),
              'empty': lambda: shards.write(second, b''),
              'zeroed': lambda: shards.write(second, zeros),
              'half zeroed': lambda: shards.write(second, (data[second][:len(zeros) // 2] + zeros)[:len(zeros)]),
              'a copy of another': lambda: shards.write(second, data[first]),
              'foreign': lambda: shards.write(second, shards.foreign)}
    for kind in campaign.rng.permutation(sorted(faults))[:campaign.amount(4, len(faults))]:
        fault = faults[kind]
        judge(campaign, 'shard: others', shards, fault, kind, [second, third])
        if kind != 'doubled':   # while it is read, what is behind the last record of the manifest does not matter
            read(campaign, 'shard: others while reading', shards, fault, 1, kind, [second, third])
        shards.restore()


def test_all_records_damaged(campaign, shards):
    """Skipping ends with an error when there is nothing left."""
    def fault():
        for name in shards.names:
            data = bytearray(shards.bytes(name))
            for start, end in shards.fields(name)[20::21]:   # the checksum behind each record
                assert end - start == 4
                data[start] ^= 1
            shards.write(name, data)
    judge(campaign, 'shard: all damaged', shards, fault, '', [shards.folder])
    fault()
    with raises_facts(UserError, 'every record', 'missing'):
        shards.skipper.read(1)
    shards.restore()


NONSENSE = [None, True, -1, 0, 1, 7, 1.5, float('nan'), 10 ** 30, '', 'x', '../shard-00000-of-00003.tfrecord', [], {},
            [[]], [1, 2], {'a': 1}, 2 ** 31, 'shard-00001-of-00003.tfrecord']


def places(value, path=()):
    """Paths of all values inside a JSON value."""
    yield path
    for key, item in (sorted(value.items()) if isinstance(value, dict) else
                      enumerate(value) if isinstance(value, list) else ()):
        yield from places(item, path + (key,))


def change(values, path, rng):
    """Replaces, removes or doubles the value at a path."""
    parent = values
    for key in path[:-1]:
        parent = parent[key]
    kind = rng.randint(4)
    if kind == 0:
        del parent[path[-1]]
    elif kind == 1 and isinstance(parent, list):
        parent.append(copy.deepcopy(parent[path[-1]]))
    else:
        parent[path[-1]] = NONSENSE[rng.randint(len(NONSENSE))]


def test_edited_manifest(campaign, shards):
    """Refused by name, or found by check_tfrecords, or of no importance for what is read."""
    def used(manifest):
        return manifest._replace(job=None)

    every = [path for path in places(shards.manifest._asdict()) if path]
    edit_json(shards.path('manifest.json'), lambda values: every.clear() or every.extend(
        path for path in places(values) if path))
    for number in range(campaign.amount(30, 500)):
        shards.restore()
        path = every[campaign.rng.randint(len(every))]
        edit_json(shards.path('manifest.json'), lambda values, path=path: change(values, path, campaign.rng))

        def start_and_check():
            shards.reader.start()
            check(shards.folder)
            return Manifest.read(shards.folder)
        campaign.attempt('manifest: edit', start_and_check, lambda found: used(found) == used(shards.manifest),
                         'edit %d of %s' % (number, path), ['manifest.json', 'shard-', 'clip ', 'LQ frames of'])
    shards.restore()


def test_deeply_nested_manifest(campaign, shards):
    for depth in (500, 900, 990, 100000):
        text = '{"format_version": 1, "shards": %s%s}' % ('[' * depth, ']' * depth)
        shards.write('manifest.json', text.encode())
        campaign.attempt('manifest: nested', shards.reader.start, lambda _: False, str(depth), ['manifest.json'])
    shards.restore()


def test_foreign_manifest(campaign, shards, tmp_path):
    """The manifest of a set that was cut to some of its shards, and copies of only some files."""
    shutil.copytree(shards.folder, str(tmp_path / 'set'))
    path = str(tmp_path / 'set' / 'manifest.json')
    edit_json(path, lambda values: values.update(
        shards=values['shards'][:2], records=sum(shard['records'] for shard in values['shards'][:2])))
    campaign.attempt('manifest: some shards only', lambda: Manifest.read(str(tmp_path / 'set')), lambda _: False,
                     names=[path])


def test_samples_show_their_record(shards):
    """The other tests depend on this."""
    assert len(set(shards.samples)) == shards.manifest.records == 12
    assert shards.samples == shards.reader.read(24) == shards.skipper.read(24)
    assert np.array_equal(sorted(shards.samples[:12]), sorted(shards.samples[12:]))
