import glob
import os

import pytest
from facts import raises_facts
from packed import edit_json, flip_byte, pack, write_clips

from data_tools.base.errors import UserError
from data_tools.media import clips, images
from data_tools.packing import verification
from data_tools.record.manifest import Manifest


@pytest.fixture
def source(tmp_path):
    return write_clips(tmp_path / 'clips', (6,))


def _problems(folder, source=None, deep=False):
    manifest = Manifest.read(folder)
    found = verification.read_source(clips.find_clips(source)) if source else ()
    found = {read.clip.name: read for read in found} if source else None
    seen = set()
    reported = [text for shard in manifest.shards for text in verification.check_shard(
        folder, shard, manifest, deep or bool(source), found, seen, lambda count: None)]
    return reported or list(verification.missing_windows(manifest, seen))


def _shards(folder):
    return sorted(glob.glob(os.path.join(folder, '*.tfrecord')))


@pytest.mark.parametrize('encoding', ['raw', 'tiles'])
def test_sound(source, tmp_path, encoding):
    folder = pack(source, tmp_path / 'set', encoding, 2)
    assert _problems(folder) == _problems(folder, deep=True) == _problems(folder, source) == []


def test_changed_bytes_name_their_record(source, tmp_path):
    folder = pack(source, tmp_path / 'set', num_shards=2)
    path = _shards(folder)[1]
    third = os.path.getsize(path) // 3
    flip_byte(path, third + 500)
    flip_byte(path, 2 * third + 500)
    reported = _problems(folder)
    assert len(reported) == 2 and all('record %d of %s: its checksum' % (i + 1, path) in reported[i] for i in range(2))


def test_damaged_length_cut_shard_and_missing_shard(source, tmp_path):
    folder = pack(source, tmp_path / 'set', num_shards=3)
    first, second, third = _shards(folder)
    flip_byte(first, 2)
    with open(second, 'r+b') as file:
        file.truncate(os.path.getsize(second) - 10)
    os.remove(third)
    reported = '\n'.join(_problems(folder))
    assert 'record 0 of %s: its length is damaged' % first in reported
    assert 'record 1 of %s: it is cut' % second in reported and '%s has ' % second in reported
    assert '%s is missing' % third in reported


def test_damaged_frame_crc(source, tmp_path):
    folder = pack(source, tmp_path / 'set', num_shards=1)
    flip_byte(_shards(folder)[0], -2)
    assert 'record 5 of %s: the checksum after it is damaged' % _shards(folder)[0] in _problems(folder)[0]


def test_swapped_shards(source, tmp_path):
    folder = pack(source, tmp_path / 'set', num_shards=2)
    first, second = _shards(folder)
    os.rename(first, first + 'x')
    os.rename(second, first)
    os.rename(first + 'x', second)
    assert 'record 0 of %s: it is a valid record, but not the one that the manifest' % first in _problems(folder)[0]
    edit_json(os.path.join(folder, 'manifest.json'),   # sets of older versions have one checksum for a shard
              lambda values: [shard.pop('record_crcs') for shard in values['shards']])
    assert 'not those that the manifest describes' in _problems(folder)[0]


def test_lacking_window(source, tmp_path):
    folder = pack(source, tmp_path / 'set', num_shards=2)
    edit_json(os.path.join(folder, 'manifest.json'), lambda values: values['job'].update(clips=[['001', 6]]))
    assert _problems(folder) == ['clip 001 lacks 6 of 6 windows, the first at frame 0']


@pytest.mark.parametrize('side', ['truth', 'blur4'])
def test_other_source(source, tmp_path, side):
    folder = pack(source, tmp_path / 'set', num_shards=1)
    path = os.path.join(source, side, '000', '00000003.png')
    image = images.read_image(path).copy()
    image[0, 0, 0] ^= 1
    images.write_png(path, image)
    reported = _problems(folder, source)
    assert reported and all('differs from %s' % path in text for text in reported)


def test_a_manifest_names_no_folder_outside_of_the_source(source, tmp_path):
    folder = pack(source, tmp_path / 'set', num_shards=1, lq_folder='blur4')
    assert verification.check_set(folder, source=source) == 0
    inside, outside = os.path.join(source, 'blur4'), str(tmp_path / 'elsewhere')
    os.rename(inside, outside)
    for named in (outside, '../elsewhere', 'truth/../../elsewhere'):
        edit_json(os.path.join(folder, 'manifest.json'), lambda values, named=named: values['job'].update(
            lq_folder=named))
        with raises_facts(UserError, folder, named, source, '--lq_folder'):
            verification.check_set(folder, source=source)
    assert verification.check_set(folder, source=source, lq_folder=outside) == 0


def test_program(run_program, source, tmp_path):
    folder = pack(source, tmp_path / 'set', num_shards=1)
    flip_byte(_shards(folder)[0], 400)
    result = run_program('data_tools.check_tfrecords', '--data_dir=' + folder)
    assert result.returncode == 1 and 'wrong: record 0 of ' in result.stdout and '1 problems' in result.stdout
