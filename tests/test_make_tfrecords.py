import glob
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from facts import check_error, raises_facts
from packed import flip_byte, write_clips

from data_tools.base import files, worker_pool
from data_tools.base.errors import UserError
from data_tools.media import images
from data_tools.record import record_format, shard_reader
from data_tools.record.manifest import Manifest

PROGRAM = 'data_tools.make_tfrecords'


@pytest.fixture(scope='module')
def source(tmp_path_factory):
    return write_clips(tmp_path_factory.mktemp('source') / 'clips')   # 13 windows


def _digests(folder):
    return {os.path.basename(path): hashlib.sha1(open(path, 'rb').read()).hexdigest()
            for path in glob.glob(os.path.join(str(folder), '*')) if os.path.isfile(path)}


def test_same_bytes_with_any_workers_in_parts_and_resumed(run_program, source, tmp_path):
    options = ['--data_dir=' + source, '--num_frames=3', '--num_shards=3', '--encoding=tiles', '--seed=5']

    def pack(name, *more):
        result = run_program(PROGRAM, '--output_dir=%s' % (tmp_path / name), *(options + list(more)))
        assert result.returncode == 0, result.stderr
        return result.stdout

    assert '13 windows in 3 shards' in pack('one', '--workers=1')
    one = _digests(tmp_path / 'one')
    assert sorted(one) == ['job.json', 'manifest.json'] + ['shard-%05d-of-00003.tfrecord' % i for i in range(3)]
    assert 'when all are, run again with --merge_manifests' in pack('two', '--workers=2', '--shard_range=1:3')
    result = run_program(PROGRAM, '--output_dir=%s' % (tmp_path / 'two'), *(options + ['--merge_manifests']))
    check_error(result, '1 of 3 shards', 'shard-00000-of-00003')
    # what a killed run leaves: a partial file, and no manifest
    (tmp_path / 'two' / ('shard-00000-of-00003.tfrecord.123' + files.PARTIAL)).write_bytes(b'half')
    before = os.stat(str(tmp_path / 'two' / 'shard-00001-of-00003.tfrecord')).st_mtime_ns
    assert '2 of 3 shards exist already' in pack('two', '--workers=1')
    assert os.stat(str(tmp_path / 'two' / 'shard-00001-of-00003.tfrecord')).st_mtime_ns == before
    assert _digests(tmp_path / 'two') == one
    assert 'is already complete' in pack('two')
    result = run_program(PROGRAM, '--output_dir=%s' % (tmp_path / 'two'), *(options + ['--seed=6']))
    check_error(result, 'another job', 'seed', 5, 6)
    assert _digests(tmp_path / 'two') == one

    manifest = Manifest.read(str(tmp_path / 'one'))
    assert manifest.job['clips'] == [['000', 6], ['001', 7]] and manifest.encoding == 'tiles'
    found = set()
    for shard in manifest.shards:
        for _, _, record, error in shard_reader.walk(str(tmp_path / 'one' / shard.name)):
            assert error is None
            window = record_format.decode(record)
            found.add((window.clip, window.centre))
            path = os.path.join(source, 'truth', window.clip, '%08d.png' % window.centre)
            np.testing.assert_array_equal(window.gt, images.read_image(path))
    assert len(found) == 13

    checked = run_program('data_tools.check_tfrecords', '--data_dir=%s' % (tmp_path / 'one'), '--source=' + source)
    assert checked.returncode == 0 and 'equal their source' in checked.stdout, checked.stderr


def test_continues_after_sigkill(run_program, tmp_path):
    source = write_clips(tmp_path / 'clips', (40,), (160, 160))
    arguments = ['--data_dir=' + source, '--num_frames=3', '--num_shards=40', '--encoding=tiles', '--workers=1',
                 '--output_dir=%s' % (tmp_path / 'set')]
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    process = subprocess.Popen([sys.executable, '-m', PROGRAM] + arguments, cwd=root, stderr=subprocess.DEVNULL)
    done = str(tmp_path / 'set' / 'shard-*.tfrecord')
    while len(glob.glob(done)) < 2 and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not os.path.exists(str(tmp_path / 'set' / 'manifest.json'))
    result = run_program(PROGRAM, *arguments)
    assert result.returncode == 0 and 'shards exist already' in result.stdout, result.stderr
    assert not glob.glob(str(tmp_path / 'set' / ('*' + files.PARTIAL)))
    assert len(os.listdir(str(tmp_path / 'set'))) == 42


def test_gt_alone_interval_and_gfile_paths(run_program, source, tmp_path):
    shutil.copytree(os.path.join(source, 'truth'), str(tmp_path / 'gt' / 'truth'))
    output = tmp_path / 'set'
    result = run_program(PROGRAM, '--data_dir=%s' % (tmp_path / 'gt'), '--output_dir=file://%s' % output, '--make_lq',
                         '--num_frames=3', '--frame_interval=2', '--fill=replicate', '--exclude=001', '--workers=1',
                         '--num_shards=1')
    assert result.returncode == 0, result.stderr
    path = str(output / 'shard-00000-of-00001.tfrecord')
    windows = [record_format.decode(record) for _, _, record, _ in shard_reader.walk(path)]
    assert sorted((w.centre, tuple(w.frames)) for w in windows) == [
        (0, (0, 0, 2)), (1, (0, 1, 3)), (2, (0, 2, 4)), (3, (1, 3, 5)), (4, (2, 4, 5)), (5, (3, 5, 5))]
    lq = images.read_image(os.path.join(source, 'blur4', '000', '00000003.png'))
    np.testing.assert_array_equal(next(w for w in windows if w.centre == 3).lq[1], lq)


@pytest.mark.parametrize('change, facts', [
    (dict(num_frames=4), ['--num_frames=4', 'odd']),
    (dict(num_frames=7), ['7 frames', 'fewer', '000 (6)']),
    (dict(num_shards=99), ['num_shards=99', 'windows', 'at most 13']),
    (dict(data_dir='/nonexistent'), ['/nonexistent']),
    (dict(shard_range='2:9'), ['shard_range=2:9', 'END <= 3']),
    (dict(lq_tile=8), ['--encoding=tiles']),
])
def test_wrong_options(run_program, source, tmp_path, change, facts):
    values = dict(dict(data_dir=source, output_dir=tmp_path / 'set', num_frames=3, num_shards=3, workers=1), **change)
    result = run_program(PROGRAM, *['--%s=%s' % item for item in values.items()])
    check_error(result, *facts)
    assert not (tmp_path / 'set').exists()   # a job noted down there would bind the corrected command
    assert not os.path.exists(str(tmp_path / 'set' / 'manifest.json'))


def test_bad_frame_is_named_and_old_files_stay(run_program, tmp_path):
    source = write_clips(tmp_path / 'clips', (4,))
    path = os.path.join(source, 'truth', '000', '00000002.png')
    with open(path, 'r+b') as file:
        file.truncate(os.path.getsize(path) // 2)
    arguments = ['--data_dir=' + source, '--num_frames=3', '--workers=1']
    result = run_program(PROGRAM, '--output_dir=%s' % (tmp_path / 'set'), *arguments)
    check_error(result, 'frame %s' % path)
    assert not os.path.exists(str(tmp_path / 'set' / 'manifest.json'))
    (tmp_path / 'old').mkdir()
    (tmp_path / 'old' / 'notes.txt').write_text('mine')
    result = run_program(PROGRAM, '--output_dir=%s' % (tmp_path / 'old'), *arguments)
    check_error(result, tmp_path / 'old', 'not empty', 'notes.txt')
    assert os.listdir(str(tmp_path / 'old')) == ['notes.txt']


def _write_too_much(path):
    import resource
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    with files.atomic_path(path) as partial, files.tensorflow().io.TFRecordWriter(partial) as writer:
        writer.write(b'x' * 5000)


def test_too_little_space_is_reported_and_leaves_nothing(tmp_path):
    with pytest.raises(UserError, match=r'cannot write .*a\.tfrecord'):
        worker_pool.run(_write_too_much, [(str(tmp_path / 'a.tfrecord'),)], 1, 'test', 1, ' items')
    assert os.listdir(str(tmp_path)) == []


def _killed():
    os.kill(os.getpid(), signal.SIGKILL)


def test_killed_worker_is_reported():
    with raises_facts(UserError, 'worker process', 'killed', '--workers'):
        worker_pool.run(_killed, [()], 1, 'test', 1, ' items')


def test_job_is_kept_as_json(source, tmp_path):
    flip_target = tmp_path / 'job.json'
    flip_target.write_text(json.dumps({'a': 1}))
    flip_byte(str(flip_target), 0)
    with pytest.raises(UserError, match='is not JSON'):
        files.read_json(str(flip_target))


def test_a_shard_that_cannot_be_read_is_named(tmp_path):
    for path, reason in ((tmp_path, 'Is a directory'), (tmp_path / 'none', 'No such file')):
        with raises_facts(UserError, str(path), 'cannot be read', reason):
            list(shard_reader.walk(str(path)))
