"""Packing that is killed, starved, given bad sources or started twice ends with the bytes of an undisturbed run.

A run is forked from the test, with its workers in one process group. It is disturbed at its N-th moment: a file
operation, or a frame or window that is done, in any of its processes.
"""
import hashlib
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys

import pytest
from disturbance import OPERATIONS
from file_damage import json_faults
from forked import PATIENCE
from helpers import smooth_frames
from packed import write_clips, write_video
from small_disk import read_only, small_disk

from data_tools.base import files, worker_pool
from data_tools.base.errors import UserError
from data_tools.packing import pack, set_lock, shard_writer
from data_tools.packing.config import PackConfig
from data_tools.packing.defaults import resolve_defaults

SHARDS = 4
_context = multiprocessing.get_context('fork')


@pytest.fixture(scope='module', autouse=True)
def loaded():
    files.tensorflow()   # workers inherit it; each would load it


@pytest.fixture(scope='module')
def sources(tmp_path_factory):
    """{kind: folder of clips}: GT and LQ images, and videos whose LQ is made."""
    root = tmp_path_factory.mktemp('sources')
    os.makedirs(str(root / 'videos'))
    for number, name in enumerate(('a.mkv', 'b.avi')):
        write_video(root / 'videos' / name, smooth_frames(6, 32, 48, number))
    return {'images': write_clips(root / 'images', (5, 6), (32, 40)), 'videos': str(root / 'videos')}


def config(source, output, **more):
    made = dict(make_lq=True) if source.endswith('videos') else {}
    return PackConfig(**dict(made, data_dir=source, output_dir=str(output), num_frames=3, num_shards=SHARDS,
                             encoding='tiles', workers=2, **more))


class Moments:
    """Counts the moments of this process and those that it forks; calls `action` at number `at`, counted from 1."""

    def __init__(self, at=0, action=None):
        self._count, self._at, self._action = _context.Value('i', 0), at, action

    @property
    def count(self):
        return self._count.value

    def watch(self):
        for owner, names in ((os, OPERATIONS), (worker_pool, ['report'])):
            for name in names:
                setattr(owner, name, self._counted(getattr(owner, name)))

    def _counted(self, function):
        def counted(*args, **kwargs):
            with self._count.get_lock():
                self._count.value += 1
                now = self._count.value
            if now == self._at:
                self._action()
            return function(*args, **kwargs)
        return counted


def noted(encode, path):
    """`encode_window` that notes the name of each clip that it encodes."""
    def encode_window(clip, *args):
        with open(path, 'a') as file:
            file.write(clip.name + '\n')
        return encode(clip, *args)
    return encode_window


def packing(options, moments, log, encoded, limit=None):
    """What the forked process does."""
    os.setsid()
    with open(log, 'w') as file:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
    sys.stdout, sys.stderr = os.fdopen(1, 'w', 1), os.fdopen(2, 'w', 1)
    shard_writer.encode_window = noted(shard_writer.encode_window, encoded)
    if limit:
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    moments.watch()
    try:
        pack.pack_set(options)
    except UserError as error:
        print('error: %s' % error, file=sys.stderr)
        sys.exit(1)


class Run:
    """A packing run. pid: int, also its process group."""

    def __init__(self, options, folder, moments=None, limit=None):
        self._log, self._encoded = str(folder / 'log'), str(folder / 'encoded')
        for path in (self._log, self._encoded):
            with open(path, 'w'):
                pass
        self._process = _context.Process(target=packing, args=(options, moments or Moments(), self._log, self._encoded,
                                                               limit))
        self._process.start()
        self.pid = self._process.pid

    def finish(self):
        """The finished process with text `stderr` and `encoded`, names of clips; None for one that hung."""
        self._process.join(PATIENCE)
        if self._process.exitcode is None:
            os.killpg(self.pid, signal.SIGKILL)
            self._process.join()
            return None
        with open(self._log) as file:
            done = subprocess.CompletedProcess([], self._process.exitcode, '', file.read())
        with open(self._encoded) as file:
            done.encoded = file.read().split()
        return done


def digests(folder):
    """{name: digest} of all files of a set."""
    found = {}
    for name in sorted(os.listdir(str(folder))):
        path = os.path.join(str(folder), name)
        with open(path, 'rb') as file:
            found[name] = hashlib.sha1(file.read()).hexdigest()
    return found


@pytest.fixture(scope='module')
def undisturbed(sources, tmp_path_factory):
    """{kind: (digests, number of moments)} of runs from start to end."""
    found = {}
    for kind, source in sources.items():
        folder, moments = tmp_path_factory.mktemp(kind), Moments()
        done = Run(config(source, folder / 'set'), folder, moments).finish()
        assert done is not None and done.returncode == 0, done and done.stderr
        found[kind] = digests(folder / 'set'), moments.count
    return found


def judge_rerun(campaign, kind, description, options, folder, wanted):
    """Runs the same command again; the set has to be that of an undisturbed run, and nothing else may lie in it."""
    done = Run(options, folder).finish()
    if done is None or done.returncode:
        campaign.judge(kind, done, description + ', packed again')
        return None
    found = digests(options.output_dir)
    others = sorted(name for name in set(found) | set(wanted) if found.get(name) != wanted.get(name))
    campaign.record(kind, 'silent' if others else 'resumed', '%s: %s' % (description, others))
    return done


def test_killed_at_any_moment(campaign, sources, undisturbed, tmp_path):
    """All processes at once, the main one alone, or one of its workers."""
    for turn in range(campaign.amount(3, 50)):
        source, victim = ('images', 'videos')[turn // 3 % 2], ('all', 'main', 'any')[turn % 3]
        wanted, count = undisturbed[source]
        folder, number = tmp_path / str(turn), int(campaign.rng.randint(count)) + 1
        folder.mkdir()

        def kill(victim=victim):
            group = os.getsid(0)   # also the process that started the others
            (os.killpg if victim == 'all' else os.kill)(group if victim != 'any' else os.getpid(), signal.SIGKILL)
        options = config(sources[source], folder / 'set')
        first = Run(options, folder, Moments(number, kill)).finish()
        name = 'sharder: SIGKILL of ' + {'all': 'all processes', 'main': 'the main one', 'any': 'one of them'}[victim]
        if first is None or 'Traceback' in first.stderr:
            campaign.judge(name, first, str(number))
            continue
        judge_rerun(campaign, name, 'moment %d of %d, %s' % (number, count, source), options, folder, wanted)


def test_full_disk(campaign, sources, undisturbed, tmp_path):
    wanted = undisturbed['images'][0]
    for turn in range(campaign.amount(1, 12)):
        kilobytes, folder = int(campaign.rng.randint(8, 120)), tmp_path / str(turn)
        folder.mkdir()
        with small_disk(folder / 'disk', kilobytes) as (disk, limit):
            options = config(sources['images'], os.path.join(disk, 'set'))
            first = Run(options, folder, limit=limit).finish()
            if first is not None and first.returncode == 0:
                campaign.record('sharder: disk full', 'harmless', '%d kB' % kilobytes)
                continue
            campaign.judge('sharder: disk full', first, '%d kB' % kilobytes, [disk])
            shutil.copytree(disk, str(folder / 'room'))
        judge_rerun(campaign, 'sharder: after a full disk', '%d kB' % kilobytes,
                    options.replace(output_dir=str(folder / 'room' / 'set')), folder, wanted)


def unreadable(path, kind):
    """Replaces a file by one that cannot be read, by root neither."""
    os.remove(path)
    if kind == 'folder':
        os.mkdir(path)
    elif kind == 'FIFO':
        os.mkfifo(path)
    elif kind == 'loop':
        os.symlink(path, path)
    elif kind == 'input error':
        os.symlink('/proc/self/mem', path)
    elif kind == 'cut':
        with open(path, 'wb') as file:
            file.write(b'\x89PNG\r\n\x1a\n')


def test_unreadable_source(campaign, sources, undisturbed, tmp_path):
    """A frame that cannot be read, from the start or from some moment on."""
    wanted, count = undisturbed['images']
    kinds = ('cut', 'folder', 'FIFO', 'loop', 'input error', 'missing')
    for turn in range(campaign.amount(2, 4 * len(kinds))):
        kind, folder = kinds[turn % len(kinds)], tmp_path / str(turn)
        shutil.copytree(sources['images'], str(folder / 'clips'))
        side, clip = [('truth', '000'), ('blur4', '001')][turn // 2 % 2]
        path = os.path.join(str(folder), 'clips', side, clip, '%08d.png' % campaign.rng.randint(5))
        number = int(campaign.rng.randint(count)) + 1 if turn % 2 else 0
        if not number:
            unreadable(path, kind)
        options = config(str(folder / 'clips'), folder / 'set')
        first = Run(options, folder, Moments(number, lambda path=path, kind=kind: unreadable(path, kind))).finish()
        name, described = 'sharder: unreadable source', '%s at moment %d' % (kind, number)
        # clips of other lengths are reported by clip; before anything is read, as other sizes of GT and LQ
        campaign.judge(name, first, described, [os.path.dirname(path), clip])
        if os.path.lexists(path):
            files.remove(path) if not os.path.islink(path) else os.remove(path)
        shutil.copy(os.path.join(sources['images'], os.path.relpath(path, str(folder / 'clips'))), path)
        judge_rerun(campaign, name + ', then readable', described, options, folder, wanted)


def test_source_that_changes_meanwhile(campaign, sources, undisturbed, tmp_path):
    """The run reports it, and the next one packs only the clip that has changed."""
    shutil.copytree(sources['images'], str(tmp_path / 'changed'))
    target = os.path.join('truth', '001', '00000002.png')
    shutil.copy(os.path.join(sources['images'], 'truth', '000', '00000001.png'), str(tmp_path / 'changed' / target))
    done = Run(config(str(tmp_path / 'changed'), tmp_path / 'wanted'), tmp_path).finish()
    assert done.returncode == 0, done.stderr
    wanted, count = digests(tmp_path / 'wanted'), undisturbed['images'][1]
    for turn in range(campaign.amount(1, 20)):
        folder, number = tmp_path / str(turn), int(campaign.rng.randint(count // 4, count)) + 1
        shutil.copytree(sources['images'], str(folder / 'clips'))

        def change(folder=folder):
            shutil.copy(str(tmp_path / 'changed' / target), str(folder / 'clips' / target))
        options = config(str(folder / 'clips'), folder / 'set')
        first = Run(options, folder, Moments(number, change)).finish()
        name, described = 'sharder: source changes meanwhile', 'at moment %d of %d' % (number, count)
        change()
        if first is not None and first.returncode == 0:   # changed behind the last look
            options = options.replace(update=True)
        else:
            campaign.judge(name, first, described, ['001'])
        second = judge_rerun(campaign, name + ', packed again', described, options, folder, wanted)
        assert second is None or set(second.encoded) == {'001'}, 'clips that have not changed were packed again'


def test_two_at_once(campaign, sources, undisturbed, tmp_path):
    """The second one is refused by name and disturbs nothing; other shards may be packed meanwhile."""
    wanted, count = undisturbed['images']
    options = config(sources['images'], tmp_path / 'set')
    for folder in ('a', 'b', 'c'):
        (tmp_path / folder).mkdir()
    at, going = _context.Event(), _context.Event()

    def wait():
        at.set()
        going.wait(PATIENCE)
    half = options.replace(shard_range='0:%d' % (SHARDS // 2))
    first = Run(half, tmp_path / 'a', Moments(count // 3, wait))
    assert at.wait(PATIENCE)
    for again in (half, options, options.replace(shard_range='1:3'), options.replace(merge_manifests=True)):
        campaign.judge('sharder: two runs', Run(again, tmp_path / 'b').finish(), again.shard_range,
                       ['another run (process %d on' % first.pid])
    other = Run(options.replace(shard_range='%d:%d' % (SHARDS // 2, SHARDS)), tmp_path / 'c').finish()
    assert other.returncode == 0, other.stderr
    going.set()
    done = first.finish()
    assert done.returncode == 0, done.stderr
    same = digests(tmp_path / 'set') == wanted
    campaign.record('sharder: two runs of different shards', 'resumed' if same else 'silent', str(tmp_path))


def test_a_lock_that_a_killed_run_left(tmp_path):
    """Another range ignores it, and the end of the set removes it."""
    path = tmp_path / '.packing-00000-00002.lock'
    path.write_text('process 1 on nowhere, x\n')
    with set_lock.of_shards(str(tmp_path), range(4)):
        assert set_lock.others(str(tmp_path), range(4)) == []
        set_lock.remove_left(str(tmp_path))
        assert not path.exists() and len(os.listdir(str(tmp_path))) == 1
    assert os.listdir(str(tmp_path)) == []


def test_read_only_output(campaign, sources, tmp_path):
    with read_only(tmp_path / 'disk') as possible:
        if not possible:
            pytest.skip('root may write everywhere, and nothing may be mounted here')
        for name in ('set', ''):
            options = config(sources['images'], tmp_path / 'disk' / name)
            campaign.judge('sharder: read-only output', Run(options, tmp_path).finish(), name, [options.output_dir])


def test_damaged_notes(campaign, sources, tmp_path):
    """job.json and the file beside a shard, of a set that is not whole."""
    options = config(sources['images'], tmp_path / 'set', shard_range='0:2')
    done = Run(options, tmp_path).finish()
    assert done.returncode == 0, done.stderr

    def read():
        found, shots = pack.find_source(resolve_defaults(options)[0])
        job = pack.describe_job(options, found, shots)
        pack.prepare_output(str(tmp_path / 'set'), job)
        for index in range(SHARDS):
            shard_writer.kept_clips(str(tmp_path / 'set'), index, job)
            shard_writer.finished(str(tmp_path / 'set'), index, job)

    for kind, name in (('job.json', 'job.json'), ('note of a shard', 'shard-00000-of-00004.tfrecord.json')):
        path = str(tmp_path / 'set' / name)
        with open(path) as file:
            text = file.read()
        # a job of other values is another job, a note of a shard of another size is none
        json_faults(campaign, path, text, 'sharder: ' + kind, read)
        with open(path, 'w') as file:
            file.write(text)
