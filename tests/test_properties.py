"""Properties that hold for all values: of crops and flips, of windows, of records, of configurations."""
import dataclasses
import json
import os

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from data_tools.base import command_line, flags
from data_tools.base.config import ConfigError, element_type, is_tuple
from data_tools.media.windows import FILLS, window_indices
from data_tools.packing.config import PackConfig
from data_tools.record import record_format
from data_tools.record.manifest import Manifest
from edvr.config import DataConfig, ModelConfig, RuntimeConfig, TrainingConfig
from edvr.data import input_pipeline
from edvr.data.input_pipeline import tf
from edvr.data.mixture import Part
from edvr.restore import tiling

FEW = settings(max_examples=25, derandomize=True, deadline=None, database=None,
               suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much,
                                      HealthCheck.function_scoped_fixture])
FRAMES, SCALE, PATCH = 3, 2, 6
TILES = {'raw': (0, 0), 'tiles': (4, 10)}


def coordinates(height, width, frames):
    """Frames whose pixels hold their row, column and frame: uint8 [T, H, W, 3]."""
    return np.stack(np.meshgrid(np.arange(frames), np.arange(height), np.arange(width), indexing='ij'),
                    -1)[..., [1, 2, 0]].astype(np.uint8)


@pytest.fixture(scope='module')
def samplers():
    """{encoding: function (record, number) -> (lq, gt)}: production's crop and augmentation, built once."""
    found = {}
    for encoding, tiles in TILES.items():
        with tf.Graph().as_default():
            manifest = Manifest(FRAMES, SCALE, encoding, tiles[0], tiles[1], [], [], {})
            record, number = tf.placeholder(tf.string, []), tf.placeholder(tf.int64, [])
            config = DataConfig(patch_size=PATCH, reverse=True)
            session = tf.Session()
            found[encoding] = session.make_callable(
                list(input_pipeline.sample(config, Part('', 1., manifest, 0), SCALE, 0, 0, number, record)),
                [record, number])
    return found


@FEW
@given(encoding=st.sampled_from(sorted(TILES)), height=st.integers(PATCH, 60), width=st.integers(PATCH, 60),
       number=st.integers(0, 2 ** 40))
def test_lq_and_gt_stay_aligned(samplers, encoding, height, width, number):
    """What happened to LQ, read off its coordinates, gives GT when it is done to GT's frame."""
    whole = coordinates(SCALE * height, SCALE * width, 1)[0]
    window = record_format.Window('c', 1, [0, 1, 2], 3, 1, SCALE, coordinates(height, width, FRAMES), whole)
    lq, gt = samplers[encoding](record_format.encode(window, *TILES[encoding]), number)
    rows, columns, frames = (lq[..., i].astype(int) for i in range(3))
    top, left = rows.min(), columns.min()
    assert top + PATCH <= height and left + PATCH <= width
    transposed = rows[0, 0, 0] != rows[0, 0, 1]
    expected = whole[SCALE * top:SCALE * (top + PATCH), SCALE * left:SCALE * (left + PATCH)]
    down, across = rows[0], columns[0]
    if transposed:
        down, across = down.T, across.T
    if down[0, 0] > down[1, 0]:
        expected = expected[::-1]
    if across[0, 0] > across[0, 1]:
        expected = expected[:, ::-1]
    if transposed:
        expected = expected.transpose(1, 0, 2)
    np.testing.assert_array_equal(gt, expected)
    order = frames[:, 0, 0].tolist()
    assert order in ([0, 1, 2], [2, 1, 0])
    small = expected[SCALE // 2::SCALE, SCALE // 2::SCALE, :2] // SCALE
    for frame, index in zip(lq, order):
        np.testing.assert_array_equal(frame[..., :2], small)
        assert (frame[..., 2] == index).all()


@FEW
@given(data=st.data(), length=st.integers(1, 40), half=st.integers(0, 4), fill=st.sampled_from(FILLS),
       interval=st.integers(1, 3))
def test_windows(data, length, half, fill, interval):
    """Inside the clip frames are `interval` apart; everywhere the mirrored clip has the mirrored window."""
    index, count = data.draw(st.integers(0, length - 1)), 2 * half + 1
    found = window_indices(index, length, count, fill, interval)
    assert len(found) == count and found[half] == index and set(found) <= set(range(length))
    for offset, frame in zip(range(-half, half + 1), found):
        if 0 <= index + offset * interval < length:
            assert frame == index + offset * interval
    mirrored = window_indices(length - 1 - index, length, count, fill, interval)
    assert [length - 1 - frame for frame in reversed(mirrored)] == found


def blurred(image, radius, scale):
    """Means over squares of `radius`, enlarged: as a network, it sees only so far."""
    for axis in (0, 1):
        indices = np.arange(image.shape[axis])
        image = np.mean([image.take(np.clip(indices + offset, 0, indices[-1]), axis)
                         for offset in range(-radius, radius + 1)], 0)
    return image.repeat(scale, 0).repeat(scale, 1)


@FEW
@given(size=st.tuples(st.integers(1, 90), st.integers(1, 90)), tile=st.sampled_from([16, 24, 40]), data=st.data(),
       multiple=st.sampled_from([1, 4, 8]), scale=st.integers(1, 3))
def test_tiles_give_what_the_whole_gives(size, tile, data, multiple, scale):
    """Where tiles overlap by more than the network sees, cutting a frame changes nothing."""
    overlap = data.draw(st.integers(0, tile // 2))
    radius = overlap * 3 // 8
    frame = np.random.RandomState(sum(size)).randint(0, 256, size + (3,)).astype(np.uint8)
    padded = tiling.pad(frame, tiling.padded_size(size[0], size[1], multiple)).astype(np.float64)
    tiles = tiling.Tiling(padded.shape[:2], (tile, tile), overlap, multiple, scale)
    found = tiles.blend([blurred(padded[box], radius, scale).astype(np.float32) for box in tiles.boxes])
    np.testing.assert_allclose(found, blurred(padded, radius, scale), rtol=1e-5, atol=1e-4)


NAMES = st.text(st.characters(blacklist_categories=['Cs'], blacklist_characters='\0'), min_size=1, max_size=20)


@FEW
@given(name=NAMES, frames=st.integers(1, 5), height=st.integers(1, 30), width=st.integers(1, 30),
       scale=st.sampled_from([1, 2, 3, 4]), tiles=st.tuples(st.integers(0, 40), st.integers(0, 40)),
       seed=st.integers(0, 99))
def test_record_round_trip(name, frames, height, width, scale, tiles, seed):
    random = np.random.RandomState(seed)
    window = record_format.Window(name, 7, random.randint(0, 2 ** 31, frames).tolist(), 99, 3, scale,
                           random.randint(0, 256, (frames, height, width, 3)).astype(np.uint8),
                           random.randint(0, 256, (scale * height, scale * width, 3)).astype(np.uint8))
    record = record_format.encode(window, *tiles)
    found = record_format.decode(record)
    assert found[:6] == window[:6] and record_format.clip_name(record) == name
    np.testing.assert_array_equal(found.lq, window.lq)
    np.testing.assert_array_equal(found.gt, window.gt)


def values_of(field):
    """Values that an option may have by itself."""
    kind, meta = element_type(field), field.metadata
    if meta['choices'] is not None:
        one = st.sampled_from(list(meta['choices']))
    elif kind is bool:
        one = st.booleans()
    elif kind is int:
        low = -2 ** 40 if meta['low'] is None else meta['low']
        one = st.integers(low, 2 ** 40 if meta['high'] is None else meta['high'])
    elif kind is float:
        one = st.floats(meta['low'], meta['high'], allow_nan=False, allow_infinity=False)
    else:
        one = st.text('abcXYZ019/._-äöß =#', max_size=12).filter(lambda text: text == text.strip())
        one = one if not is_tuple(field) else one.filter(bool)
    return st.lists(one, max_size=4).map(tuple) if is_tuple(field) else one


@pytest.fixture(params=[DataConfig, ModelConfig, PackConfig, RuntimeConfig, TrainingConfig],
                ids=lambda cls: cls.__name__)
def defined(request):
    """A Config class whose options are defined as flags meanwhile."""
    before = set(flags.FLAGS)
    flags.define(request.param)
    yield request.param
    flags.FLAGS.unparse_flags()
    for name in set(flags.FLAGS) - before:
        delattr(flags.FLAGS, name)


@FEW
@given(data=st.data())
def test_flags_to_configuration_to_json_to_configuration(defined, tmp_path, data):
    """A configuration as a flagfile, read as programs read it, and as JSON, is the same configuration."""
    fields = data.draw(st.lists(st.sampled_from(dataclasses.fields(defined)), max_size=5,
                                unique_by=lambda field: field.name))
    try:
        config = defined(**{field.name: data.draw(values_of(field), field.name) for field in fields})
    except ConfigError:
        assume(False)
    path = str(tmp_path / 'x.cfg')
    with open(path, 'w', encoding='utf-8') as file:
        file.write(flags.as_flagfile([config]))
    flags.FLAGS.unparse_flags()
    flags.FLAGS(['program'] + command_line.read(['--flagfile=' + path], os.path.dirname(path)).arguments)
    assert flags.build(defined) == config
    assert defined.from_dict(json.loads(json.dumps(config.to_dict()))) == config
