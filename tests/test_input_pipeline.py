import collections
import glob
import os
import shutil
import time

import numpy as np
import pytest
from facts import check_facts, raises_facts
from helpers import session as unoptimized_session
from packed import flip_byte, pack, write_clips

from data_tools.base.errors import UserError
from data_tools.media import clips, images
from data_tools.media.windows import window_indices
from data_tools.record import record_format
from data_tools.record.manifest import Manifest
from edvr.benchmarks import input as benchmark
from edvr.config import ConfigError, DataConfig
from edvr.data import damage, input_meter, input_pipeline, record_order
from edvr.data.input_meter import InputMeter
from edvr.data.input_pipeline import tf, train_dataset
from edvr.data.mixture import Mixture


@pytest.fixture(scope='module')
def source(tmp_path_factory):
    return write_clips(tmp_path_factory.mktemp('source') / 'clips')   # 13 windows, LQ 12x16


@pytest.fixture(scope='module')
def sets(source, tmp_path_factory):
    return {encoding: pack(source, tmp_path_factory.mktemp(encoding) / 'set', encoding, num_shards=5)
            for encoding in ('raw', 'tiles')}


@pytest.fixture(params=['raw', 'tiles'])
def folder(request, sets):
    return sets[request.param]


@pytest.fixture
def raw(sets):
    return sets['raw']


def _config(folder, **options):
    return DataConfig(**dict(dict(data_dir=folder, batch_size=4, patch_size=8, map_threads=2, read_threads=2,
                                  shuffle_buffer=8), **options))


def _take(dataset, count):
    with tf.Graph().as_default(), unoptimized_session() as session:
        iterator = tf.data.make_initializable_iterator(dataset())
        element = iterator.get_next()
        session.run(iterator.initializer)
        return [session.run(element) for _ in range(count)]


def _batches(config, count, **options):
    return _take(lambda: train_dataset(config, 3, 4, config.batch_size, **options), count)


def _mixture(config):
    return Mixture.of((folder, weight, Manifest.read(folder)) for folder, weight in config.sets)


def _ids(config, count, rank=0, size=1, start_step=0, batch_size=4):
    """(shard, index) of the records a device reads, in order."""
    return [(int(shard), int(index)) for _, shard, index, _ in _take(
        lambda: record_order.records(config, _mixture(config), batch_size, rank, size, start_step), count)]


def test_crops_are_the_source_pixels(folder, source):
    """With augmentation undone, each sample is found in the source: LQ frames and GT at the same place."""
    frames = {clip.name: (list(clip.lq.read()), list(clip.gt.read()))
              for clip in clips.find_clips(source)}
    config = _config(folder, flip=False, transpose=False)
    found = set()
    for inputs, gt in _batches(config, 4):
        assert inputs['lq'].dtype == gt.dtype == np.uint8
        for lq, high in zip(inputs['lq'], gt):
            places = [(name, i, y, x) for name, (_, highs) in frames.items() for i, image in enumerate(highs)
                      for y in range(5) for x in range(9)
                      if (image[4 * y:4 * y + 32, 4 * x:4 * x + 32] == high).all()]
            (name, i, y, x), = places
            np.testing.assert_array_equal(lq[1], frames[name][0][i][y:y + 8, x:x + 8])
            found.add((name, i))
    assert len(found) > 6


def test_static_shapes(folder):
    with tf.Graph().as_default():
        dataset = train_dataset(_config(folder, crops_per_record=2), 3, 4, 4)
        inputs, gt = tf.data.make_initializable_iterator(dataset).get_next()
        assert inputs['lq'].shape.as_list() == [4, 3, 8, 8, 3] and gt.shape.as_list() == [4, 32, 32, 3]


def test_flips_and_transpose_go_together(folder):
    """All 8 orientations come, and LQ has the same one as GT: LQ is GT made small, which commutes with them."""
    from data_tools.media.degradation import make_lq
    for inputs, gt in _batches(_config(folder), 6):
        for lq, high in zip(inputs['lq'], gt):
            inner = np.abs(make_lq(high, 4)[2:-2, 2:-2].astype(int) - lq[1, 2:-2, 2:-2])
            assert inner.max() <= 2   # borders differ, because the source had neighbours there


def test_every_crop_position_is_equally_likely(raw):
    config = _config(raw, flip=False, transpose=False)
    part = _mixture(config).parts[0]
    record = next(iter(_take(lambda: record_order.records(config, _mixture(config), 4, 0, 1, 0), 1)))[3]
    gt = record_format.decode(record).gt
    place = {gt[4 * y, 4 * x].tobytes(): (y, x) for y in range(5) for x in range(9)}
    assert len(place) == 45

    def dataset():
        return tf.data.Dataset.range(4500).map(
            lambda number: input_pipeline.sample(config, part, 4, 0, 0, number, tf.constant(record))[1]).batch(4500)
    (crops,) = _take(dataset, 1)
    counts = collections.Counter(place[crop[0, 0].tobytes()] for crop in crops)
    assert len(counts) == 45
    # chi square with 44 degrees of freedom: beyond 81 once in 2000 seeds; the seed is fixed
    assert sum((count - 100) ** 2 / 100 for count in counts.values()) < 81


@pytest.mark.parametrize('options', [{}, dict(deterministic=True), dict(crops_per_record=2),
                                     dict(deterministic=True, crops_per_record=2), dict(skip_corrupt_records=True)])
def test_every_window_is_used(raw, options):
    config, manifest = _config(raw, read_threads=1, **options), Manifest.read(raw)
    crops = config.crops_per_record
    # 13 records are no multiple of the batch of 4: with K the groups of 4 straddle epochs
    count = 13 * crops if not (config.deterministic and crops > 1) else 52 * crops
    seen = collections.Counter(_ids(config, count))
    assert set(seen) == {(s, i) for s, shard in enumerate(manifest.shards) for i in range(shard.records)}
    assert len(set(seen.values())) == 1


def test_crops_of_one_window_meet_in_no_deterministic_batch(raw):
    config = _config(raw, deterministic=True, crops_per_record=3)
    ids = _ids(config, 36)
    for start in range(0, 36, 4):
        assert len(set(ids[start:start + 4])) == 4
    assert sorted(ids[0:4]) == sorted(ids[4:8]) == sorted(ids[8:12]) != sorted(ids[12:16])


@pytest.mark.parametrize('size', [2, 5])
def test_devices_share_each_epoch(raw, size):
    sequences = [record_order.shard_sequence(5, 7, rank, size) for rank in range(size)]
    for epoch in range(20):
        lengths = [len(range(rank, 5, size)) for rank in range(size)]
        shards = [int(s) for sequence, length in zip(sequences, lengths)
                  for s in sequence[epoch * length:(epoch + 1) * length]]
        assert sorted(shards) == list(range(5))
    config = _config(raw, deterministic=True, seed=7)
    first = [_ids(config, len(range(rank, 13, size)), rank, size) for rank in range(size)]
    assert sum(map(len, first)) == len(set().union(*first)) == 13


def test_devices_draw_different_crops(raw):
    config = _config(raw)
    record = _take(lambda: record_order.records(config, _mixture(config), 4, 0, 1, 0), 1)[0][3]

    def crops(rank, start_step=0):
        return tf.data.Dataset.range(20).map(lambda number: input_pipeline.sample(
            config, _mixture(config).parts[0], 4, rank, start_step, number, tf.constant(record))[1]).batch(20)
    ((first, same, other_rank, other_step),) = _take(
        lambda: tf.data.Dataset.zip((crops(0), crops(0), crops(1), crops(0, 8))), 1)
    assert (first == same).all() and (first != other_rank).any() and (first != other_step).any()


@pytest.mark.parametrize('encoding, crops', [('raw', 1), ('tiles', 3)])
def test_deterministic_resume_is_bit_identical(sets, encoding, crops):
    config = _config(sets[encoding], deterministic=True, crops_per_record=crops, noise_kinds=('gaussian',),
                     reverse=True)
    whole = _batches(config, 12)
    for start in (5, 9):   # amid the crops of a record and at their first; amid a shard and in a later epoch
        for (inputs, gt), (expected, expected_gt) in zip(_batches(config, 3, start_step=start), whole[start:]):
            np.testing.assert_array_equal(inputs['lq'], expected['lq'])
            np.testing.assert_array_equal(gt, expected_gt)


def test_another_seed_gives_other_batches(raw):
    (_, gt), (_, other) = (_batches(_config(raw, deterministic=True, seed=seed), 1)[0] for seed in (0, 1))
    assert (gt != other).any()


def test_sessions_may_close_while_shards_are_read(raw):
    """As every training ends. Threads that outlive their session crash the process, once in a few dozen closings."""
    config = _config(raw, crops_per_record=2, prefetch=1)
    with tf.Graph().as_default():
        iterator = tf.data.make_initializable_iterator(train_dataset(config, 3, 4, 4))
        element = iterator.get_next()
        for _ in range(15):
            with tf.Session() as session:
                session.run(iterator.initializer)
                session.run(element)


def test_a_far_step_starts_at_once(raw):
    assert len(_batches(_config(raw, deterministic=True), 1, start_step=10 ** 9)) == 1


def test_resume_does_not_replay(raw):
    first = {gt.tobytes() for _, batch in _batches(_config(raw), 6) for gt in batch}
    again = {gt.tobytes() for _, batch in _batches(_config(raw), 6, start_step=6) for gt in batch}
    assert len(first & again) < 6   # a repeat by chance is one in 4680; a replay repeats nearly all 24


def test_frames_of_several_sizes(tmp_path):
    source = write_clips(tmp_path / 'clips', (3,), (32, 40))
    for side in ('truth', 'blur4'):
        os.rename(os.path.join(source, side, '000'), os.path.join(source, side, '100'))
    write_clips(source, (3,), (64, 48), seed=1)
    for encoding in ('raw', 'tiles'):
        folder = pack(source, tmp_path / encoding, encoding, num_shards=2)
        assert Manifest.read(folder).sizes == [(8, 10), (16, 12)]
        assert len(_batches(_config(folder), 5)) == 5
        with raises_facts(UserError, 'patch_size', 9, '8x10'):
            _batches(_config(folder, patch_size=9), 1)


@pytest.mark.parametrize('scale', [1, 2, 3])
def test_other_scales(tmp_path, scale):
    folder = pack(write_clips(tmp_path / 'c', (3,), (24, 36), scale), tmp_path / 's', 'tiles', 1, scale=scale)
    (inputs, gt), = _take(lambda: train_dataset(_config(folder), 3, scale, 2), 1)
    assert inputs['lq'].shape == (2, 3, 8, 8, 3) and gt.shape == (2, 8 * scale, 8 * scale, 3)


def test_null_input():
    (inputs, gt), = _take(lambda: train_dataset(DataConfig(input='null', patch_size=8), 5, 2, 3), 1)
    assert inputs['lq'].shape == (3, 5, 8, 8, 3) and gt.shape == (3, 16, 16, 3) and gt.dtype == np.uint8


def test_wrong_sets_are_refused(raw, tmp_path):
    config = _config(raw)
    for arguments, message in (((5, 4, 4), 'num_frames=3, the model has num_frames=5'),
                               ((3, 2, 4), 'scale=4, the model has scale=2'),
                               ((3, 4, 4, 0, 6), '5 shards for 6 devices')):
        with pytest.raises(UserError, match=message):
            train_dataset(config, *arguments)
    with pytest.raises(UserError, match='patch_size is 64'):
        train_dataset(config.replace(patch_size=64), 3, 4, 4)
    with pytest.raises(UserError, match=r'has no manifest\.json'):
        train_dataset(config.replace(data_dir=str(tmp_path)), 3, 4, 4)
    with pytest.raises(UserError, match='--data_dir is not given'):
        train_dataset(config.replace(data_dir=''), 3, 4, 4)


def _damaged(source, tmp_path):
    folder = pack(source, tmp_path / 'set', num_shards=2)
    path = sorted(glob.glob(os.path.join(folder, '*.tfrecord')))[1]
    size = (os.path.getsize(path)) // 6   # six equal records
    flip_byte(path, 2 * size + size // 2)
    return folder, os.path.basename(path)


def test_damage_is_named(source, tmp_path):
    folder, name = _damaged(source, tmp_path)
    config = _config(folder)
    with pytest.raises(tf.errors.DataLossError) as raised:
        _batches(config, 10)
    assert 'record 2 of %s is damaged' % os.path.join(folder, name) in str(damage.explain(raised.value, config))
    with raises_facts(UserError, 'record 2', name, 'damaged'):
        benchmark.measure(config, 3, 4, 1., 1)
    assert damage.explain(tf.errors.InternalError(None, None, 'something else'), config) is None


@pytest.mark.parametrize('deterministic', [False, True])
def test_damage_is_skipped_counted_and_reported(source, tmp_path, capfd, deterministic):
    folder, name = _damaged(source, tmp_path)
    config = _config(folder, skip_corrupt_records=True, read_threads=1, deterministic=deterministic)
    counts = collections.Counter(_ids(config, 26 if deterministic else 24))
    if deterministic:   # the record before takes its place
        assert counts.pop((1, 1)) == 4
    assert (1, 2) not in counts and set(counts.values()) == {2}
    assert damage.skipped.count(folder) == 1
    assert 'skipped record 2 of %s' % os.path.join(folder, name) in capfd.readouterr().err


@pytest.mark.parametrize('place', ['between records', 'inside a head', 'inside a record'])
@pytest.mark.parametrize('options', [dict(deterministic=True), {}, dict(skip_corrupt_records=True)])
def test_a_shard_that_is_cut_while_it_is_read(source, tmp_path, place, options):
    """The error says how many records there are and should be; skipping counts those that are missing."""
    folder = pack(source, tmp_path / 'set', num_shards=2)
    path = sorted(glob.glob(os.path.join(folder, '*.tfrecord')))[1]
    record = os.path.getsize(path) // 6
    config = _config(folder, read_threads=1, **options)
    with tf.Graph().as_default(), tf.Session() as session:
        iterator = tf.data.make_initializable_iterator(train_dataset(config, 3, 4, 4))
        element = iterator.get_next()
        session.run(iterator.initializer)
        session.run(element)
        os.truncate(path, 4 * record + {'between records': 0, 'inside a head': 9, 'inside a record': 500}[place])
        if not config.skip_corrupt_records:
            with pytest.raises(tf.errors.OpError) as raised:
                for _ in range(50):
                    session.run(element)
            with raises_facts(UserError, os.path.basename(path), 6 * record, '4 records', 6, 'copy'):
                damage.explain(raised.value, config)
        else:
            for _ in range(50):
                session.run(element)
            assert damage.skipped.count(folder) == 2


def test_a_record_that_was_another_for_a_while(source, tmp_path):
    """A shard that is whole again when the error is explained is named all the same."""
    folder = pack(source, tmp_path / 'set', num_shards=2)
    config = _config(folder, deterministic=True)
    path = sorted(glob.glob(os.path.join(folder, '*.tfrecord')))[0]
    with open(path, 'rb') as file:
        data = file.read()
    record = len(data) // 7
    with tf.Graph().as_default(), tf.Session() as session:
        element = tf.data.make_one_shot_iterator(train_dataset(config, 3, 4, 4)).get_next()
        with open(path, 'wb') as file:
            file.write(data[:2 * record] + data[:record] + data[3 * record:])
        with pytest.raises(tf.errors.InvalidArgumentError) as raised:
            for _ in range(4):
                session.run(element)
    error = str(damage.explain(raised.value, config))
    assert 'record 2 of %s is damaged (it is a valid record, but not the one' % path in error
    with open(path, 'wb') as file:
        file.write(data)
    assert 'record 2 of %s is damaged (it is sound now' % path in str(damage.explain(raised.value, config))


def test_a_shard_that_could_not_be_read_for_a_moment_is_named(source, tmp_path):
    folder = pack(source, tmp_path / 'set', num_shards=2)
    path = sorted(glob.glob(os.path.join(folder, '*.tfrecord')))[1]
    error = tf.errors.UnknownError(None, None, '%s; Input/output error\n\t [[node IteratorGetNext]]' % path)
    check_facts(str(damage.explain(error, _config(folder))), path, 'Input/output error', 'check the disk')


@pytest.mark.parametrize('damages', [dict(middle=1), dict(first=1, end=1), dict(whole=1), dict(whole=2, middle=0)])
def test_deterministic_skipping_resumes_bit_for_bit(source, tmp_path, damages):
    """Checks the neighbour of a first record, of last ones and of those of a complete shard."""
    folder = pack(source, tmp_path / 'set', num_shards=3)
    paths, manifest = sorted(glob.glob(os.path.join(folder, '*.tfrecord'))), Manifest.read(folder)
    config = _config(folder, deterministic=True, skip_corrupt_records=True)
    before = _ids(config, 36)
    for place, shard in damages.items():
        size = os.path.getsize(paths[shard])
        record = size // manifest.shards[shard].records
        if place == 'end':
            os.truncate(paths[shard], size - record - record // 2)
        else:   # in the pixels; in the length, after which nothing can be read
            flip_byte(paths[shard], {'middle': 2 * record + record // 2, 'first': record // 2, 'whole': 3}[place])
    whole = _ids(config, 36)
    assert sum(old != new for old, new in zip(before, whole)) >= 2
    assert all(old == new for old, new in zip(before, whole) if old in whole)   # all others stay in their places
    for start in range(1, 8):
        assert _ids(config, 5, start_step=start) == whole[4 * start:4 * start + 5]


def test_skipping_everything_is_an_error(source, tmp_path):
    folder = pack(source, tmp_path / 'set', num_shards=2)
    for path in glob.glob(os.path.join(folder, '*.tfrecord')):
        flip_byte(path, 3)
    config = _config(folder, skip_corrupt_records=True)
    for options in (dict(deterministic=True), {}):
        with pytest.raises(tf.errors.OpError) as raised:
            _batches(config.replace(**options), 1)
    assert str(damage.explain(raised.value, config)) == (
        'skip_corrupt_records: every record of %s is damaged or missing: copy the set again, or pack it again' % folder)


def _steps(config, count, sizes):
    """[{bytes of a sample}] per step, over all devices; `sizes`: devices in each session, of `count` steps each."""
    found, whole = [], 8
    for session, size in enumerate(sizes):
        per_rank = [_batches(config.replace(batch_size=whole // size), count, rank=rank, size=size,
                             start_step=session * count) for rank in range(size)]
        found += [sorted(lq.tobytes() + high.tobytes() for inputs, gt in step for lq, high in zip(inputs['lq'], gt))
                  for step in zip(*per_rank)]
    return found


@pytest.mark.parametrize('crops, noise, sizes', [(1, ('gaussian',), [2, 4]), (2, (), [2])])
def test_samples_of_a_step_do_not_depend_on_the_number_of_devices(raw, crops, noise, sizes):
    """Records, crops, flips and noise: the pixels of all samples of a step, also resumed with another number."""
    config = _config(raw, deterministic=True, crops_per_record=crops, noise_kinds=noise, reverse=True)
    one = _steps(config, 6, [1])
    assert one == _steps(config, 6 // len(sizes), sizes)
    assert all(len(set(step)) == 8 for step in one) and len(set().union(*one)) == 48


@pytest.mark.parametrize('crops, size, per_step', [(1, 1, 2), (2, 1, 2), (3, 1, 4), (2, 2, 2)])
def test_samples_of_a_step_do_not_depend_on_replicas_in_a_process(raw, crops, size, per_step):
    """Each replica takes a batch of its process; also resumed amid the crops of a window."""
    config = _config(raw, deterministic=True, crops_per_record=crops)
    one = _steps(config, 6, [1])
    config = config.replace(batch_size=8 // size // per_step)
    for first in (0, 1, 4):
        batches = [_batches(config, 2 * per_step, rank=rank, size=size, start_step=first * per_step,
                            per_step=per_step) for rank in range(size)]
        for step in (0, 1):
            found = [lq.tobytes() + high.tobytes() for rank in batches
                     for inputs, gt in rank[step * per_step:(step + 1) * per_step]
                     for lq, high in zip(inputs['lq'], gt)]
            assert sorted(found) == one[first + step]


@pytest.mark.parametrize('options, share', [
    (dict(deterministic=True), 1), (dict(deterministic=True, crops_per_record=2), .5), (dict(crops_per_record=4), .25),
    (dict(deterministic=True, skip_corrupt_records=True), 1), (dict(deterministic=True, size=2), 2)])
def test_what_is_read_is_counted(raw, options, share):
    """Each record once, a record for another rank too; the batches are those without a meter."""
    options = dict(options)
    size = options.pop('size', 1)
    config = _config(raw, prefetch=1, **options)
    meter = InputMeter(4)
    found = _batches(config, 5, size=size, meter=meter)
    count = meter.count()
    assert 5 <= count.batches <= 7 and meter.ready(5) == 4 * (count.batches - 5)
    lengths = {len(item[3]) for item in _take(lambda: record_order.records(config, _mixture(config), 4, 0, 1, 0), 13)}
    assert count.read == pytest.approx(share * 4 * count.batches * sum(lengths) / len(lengths), rel=.01)
    assert 0 < count.decoding < 100
    if config.deterministic:
        for (inputs, gt), (same, truth) in zip(found, _batches(config, 5, size=size)):
            np.testing.assert_array_equal(inputs['lq'], same['lq'])
            np.testing.assert_array_equal(gt, truth)


def test_the_time_of_decoding_is_counted():
    """That of one of the threads, without the time before and after."""
    def slow(text):
        time.sleep(.1)
        return text

    def samples():
        def decode(text):
            began = tf.timestamp()
            return input_meter.cost(text, .5, began, [tf.numpy_function(slow, [text], tf.string)], 2)
        return tf.data.Dataset.from_tensors(b'12345678').repeat().map(decode)

    found = _take(samples, 3)
    assert all(decoded == b'12345678' and cost[0] == 4 and .05 <= cost[1] < 10 for decoded, cost in found)


def test_benchmark(raw):
    result = benchmark.measure(_config(raw), 3, 4, .2, 2)
    assert result['read_mb_per_s'] > 0 and 0 < result['decoding_busy_share'] <= 1
    assert result['samples_per_s'] > 0 and result['cpu_ms_per_sample'] > 0 and result['rss_mb'] > 10
    result = benchmark.headroom(600., 230., 32)
    assert benchmark.sentence(result, 8, 230., 32) == '8 cards at 230 ms x 32 need 139/s: 4.3x headroom'
    assert 'only 72% of that' in benchmark.sentence(benchmark.headroom(100., 230., 32), 8, 230., 32)


@pytest.fixture(scope='module')
def other(tmp_path_factory):
    """A second set: another size, other tiles, other pixels."""
    folder = tmp_path_factory.mktemp('other')
    return pack(write_clips(folder / 'clips', (5, 4), (64, 48), seed=7), folder / 'set', 'tiles', num_shards=3)


def _mixed_options(raw, other, weights='2,1', **options):
    first, second = weights.split(',')
    return _config('%s:%s,%s:%s' % (raw, first, other, second), **options)


def test_a_mixture_resumes_bit_for_bit_on_any_number_of_devices(raw, other):
    config = _mixed_options(raw, other, deterministic=True)
    whole = _batches(config, 8)[5:]
    again = _batches(config, 3, start_step=5)
    halves = [_take(lambda rank=rank: train_dataset(config, 3, 4, 2, rank, 2, 5), 3) for rank in (0, 1)]
    for (inputs, gt), (half, half_gt), (rest, rest_gt), (expected, expected_gt) in zip(again, *halves, whole):
        for key in ('lq', 'set'):
            np.testing.assert_array_equal(inputs[key], expected[key])
            np.testing.assert_array_equal(np.stack([half[key], rest[key]], 1).reshape(inputs[key].shape), inputs[key])
        np.testing.assert_array_equal(gt, expected_gt)
        np.testing.assert_array_equal(np.stack([half_gt, rest_gt], 1).reshape(gt.shape), gt)


def test_the_records_of_a_mixture_resume_amid_the_crops_of_a_window(raw, other):
    config = _mixed_options(raw, other, deterministic=True, crops_per_record=3)
    whole = _ids(config, 60)
    for step in (4, 9):
        assert _ids(config, 12, start_step=step) == whole[4 * step:4 * step + 12]


def test_samples_of_a_mixture_are_crops_of_their_set(raw, other):
    """The pixels of each sample are found in the set that its number names."""
    def pixels(folder, records):
        config = _config(folder)
        windows = [record_format.decode(item[3]) for item in _take(
            lambda: record_order.records(config, _mixture(config), 4, 0, 1, 0), records)]
        return {window.gt[y, x].tobytes() for window in windows for y in range(0, window.gt.shape[0], 4)
                for x in range(0, window.gt.shape[1], 4)}
    sources, counts = [pixels(raw, 52), pixels(other, 36)], collections.Counter()
    for inputs, gt in _batches(_mixed_options(raw, other, flip=False, transpose=False), 3):
        assert inputs['set'].dtype == np.int32
        for number, high in zip(inputs['set'], gt):
            assert high[0, 0].tobytes() in sources[number]
            counts[number] += 1
    assert set(counts) == {0, 1}


@pytest.mark.parametrize('weights, share, deterministic', [('2,1', 2 / 3, True), ('1,3', 1 / 4, False),
                                                           ('0.5,.5', 1 / 2, True)])
def test_shares_of_a_mixture(raw, other, weights, share, deterministic):
    config = _mixed_options(raw, other, weights, deterministic=deterministic)
    mixture = _mixture(config)
    shards = np.array([shard for shard, _ in _ids(config, 600)])
    assert abs((shards < 5).mean() - share) < .08 and shards.max() == 7
    draws = mixture.draws(3)
    np.testing.assert_allclose(draws.before(2 ** 14) / 2 ** 14, [share, 1 - share], atol=1e-4)
    assert sum(draws.before(100003)) == 100003
    # each record of a set comes once before one comes again
    first = [item for item in _ids(config.replace(read_threads=1), 60) if item[0] < 5][:13]
    assert len(set(first)) == 13


def test_damaged_records_of_a_mixture_are_named_with_their_set(raw, other, tmp_path):
    copy = str(tmp_path / 'copy')
    shutil.copytree(other, copy)
    name = Manifest.read(copy).shards[1].name
    flip_byte(os.path.join(copy, name), 200)
    config = _mixed_options(raw, copy, '1,5', deterministic=True)
    with pytest.raises(tf.errors.OpError) as raised:
        _batches(config, 8)
    check_facts(str(damage.explain(raised.value, config)), 'record 0', os.path.join(copy, name), '--data_dir=' + copy)
    _ids(config.replace(skip_corrupt_records=True), 40)
    assert damage.skipped.count(copy) == 1 and damage.skipped.count(raw) == 0


def test_wrong_mixtures_are_refused(raw, other, source, tmp_path):
    for text, facts in [('%s:0,%s:0' % (raw, other), [raw, 'weight 0', 'above 0']),
                        ('%s:-1,%s:nan' % (raw, other), ['weight -1', 'weight nan']), ('%s,%s' % (raw, raw), ['twice']),
                        ('%s,,%s' % (raw, other), ['between two commas'])]:
        with raises_facts(ConfigError, *facts):
            _config(text)
    half = pack(write_clips(tmp_path / 'clips', (3,), (32, 32), scale=2), tmp_path / 'half', 'raw', num_shards=1,
                scale=2)
    with raises_facts(UserError, half, 'scale=2', 'scale=4'):
        train_dataset(_config('%s:2,%s' % (raw, half)), 3, 4, 4)
    with raises_facts(UserError, 'nowhere', 'no such folder'):
        train_dataset(_config('%s,nowhere' % raw), 3, 4, 4)
    strange = str(tmp_path / 'a,b:2')
    shutil.copytree(raw, strange)
    assert _config(strange).sets == ((strange, 1.),)


@pytest.fixture(scope='module')
def long_clips(tmp_path_factory):
    """Clips of 9 frames, in each of which all GT pixels have the number of the frame."""
    root = tmp_path_factory.mktemp('long') / 'clips'
    for number in range(2):
        for side, size in (('truth', 32), ('blur4', 8)):
            os.makedirs(str(root / side / ('%03d' % number)))
            for frame in range(9):
                images.write_png(str(root / side / ('%03d' % number) / ('%08d.png' % frame)),
                                 np.full([size, size, 3], 20 * frame + number, np.uint8))
    return str(root)


@pytest.mark.parametrize('fill, encoding', [('none', 'raw'), ('replicate', 'tiles'), ('reflection', 'raw')])
def test_each_sample_draws_an_interval(long_clips, tmp_path, fill, encoding):
    folder = pack(long_clips, tmp_path / 'set', encoding, fill=fill, reach=3)
    manifest = Manifest.read(folder)
    assert (manifest.num_frames, manifest.stored_frames, manifest.records) == (3, 7, 6 if fill == 'none' else 18)
    config = _config(folder, intervals=(1, 3), deterministic=True)
    seen, batches = collections.Counter(), _batches(config, 10)
    for inputs, gt in batches:
        for lq, high in zip(inputs['lq'], gt):
            centre, found = high[0, 0, 0] // 20, (lq[:, 0, 0, 0] // 20).tolist()
            wanted = {interval: window_indices(centre, 9, 3, 'replicate' if fill == 'none' else fill, interval)
                      for interval in (1, 3)}
            assert found in wanted.values() and (lq[:, 0, 0, 0] % 20 == high[0, 0, 0] % 20).all()
            seen.update(interval for interval, frames in wanted.items() if frames == found)
    assert set(seen) == {1, 3} and min(seen.values()) > 12
    for (inputs, _), (expected, _) in zip(_batches(config, 3, start_step=7), batches[7:]):
        np.testing.assert_array_equal(inputs['lq'], expected['lq'])
    for inputs, _ in _batches(_config(folder), 2):
        assert (abs(np.diff(inputs['lq'][..., 0, 0, 0].astype(int), axis=1)) <= 20).all()


def test_intervals_beyond_the_reach_are_refused(raw, long_clips, tmp_path):
    with raises_facts(UserError, 'intervals has 2', raw, 'reach=1', '--reach=2'):
        train_dataset(_config(raw, intervals=(1, 2)), 3, 4, 4)
    with raises_facts(ConfigError, 'intervals is empty', '1,2,3'):
        _config(raw, intervals=())
    with raises_facts(ConfigError, '--reach=2', 'reflection_circle', '--fill=none'):
        pack(long_clips, tmp_path / 'set', reach=2)
    with raises_facts(UserError, 'reach=5', 'spans 11 frames', '000 (9)'):
        pack(long_clips, tmp_path / 'set', reach=5, fill='none')
    assert 'reach' not in Manifest.read(raw).job
