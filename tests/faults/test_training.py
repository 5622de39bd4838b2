"""Training that is killed, stopped or short of disk space at any moment continues as an uninterrupted run.

A run of a tiny network (tests/tiny_training.py) is disturbed, then started again. Its log lines and the tensors of its
last checkpoint must equal those of an undisturbed run.
"""
import os
import shutil
import signal
import subprocess

import forked
import numpy as np
import pytest
import tiny_training
from packed import write_clips
from small_disk import small_disk
from training_runs import PROGRAM, RECIPE, steps, tensors

from edvr import checkpoints


def run(folder, model_dir, disturbance='', limit=None, nan='', **fields):
    """One session; returns the finished process, or None for one that had to be killed after its time."""
    return forked.run(PROGRAM, tiny_training.arguments(folder, model_dir, **dict(RECIPE, **fields)),
                      dict(TINY_TRAINING_FAULT=disturbance, TINY_TRAINING_NAN=nan), limit)


@pytest.fixture(scope='module')
def undisturbed(tmp_path_factory):
    """(set, log lines, tensors of the last checkpoint, number of moments) of a run from start to end."""
    root = tmp_path_factory.mktemp('undisturbed')
    folder = tiny_training.make_set(root / 'set')
    done = run(folder, root / 'run', 'count')
    assert done.returncode == 0, done.stderr
    return folder, steps(done.stdout), tensors(root / 'run'), int(done.stderr.split('moments: ')[1].split()[0])


def judge(campaign, kind, description, first, model_dir, undisturbed):
    """Resumes a disturbed run and records whether it ends as the undisturbed one.

    Args:
      first: finished process of the disturbed session, or None.
    """
    folder, lines, last, _ = undisturbed
    if first is None:
        campaign.record(kind, 'hung', description)
        return
    # TensorFlow's own text of an error that reaches the user as one line is no traceback of ours
    if 'Traceback (most recent call last)' in first.stderr:
        campaign.record(kind, 'traceback', '%s: %s' % (description, first.stderr[-2000:]))
        return
    done = run(folder, model_dir)
    if done is None or done.returncode:
        campaign.judge(kind, done, description + ', resumed')
        return
    before, behind = steps(first.stdout), steps(done.stdout)
    same = all(found[step] == lines[step] for found in (before, behind) for step in found)
    same = same and min(behind, default=1) <= max(before, default=0) + 1   # no step is missing
    after = tensors(model_dir)
    same = same and set(after) == set(last) and all(np.array_equal(after[name], last[name]) for name in last)
    left = [name for name in os.listdir(str(model_dir)) if name.endswith('.partial')]
    campaign.record(kind, 'resumed' if same and not left else 'silent', '%s; left behind: %s' % (description, left))


def test_signals_at_any_moment(campaign, undisturbed, tmp_path):
    """Most file operations are inside saving: its writes, its renames, its removals of older checkpoints."""
    numbers = campaign.rng.permutation(undisturbed[3])[:campaign.amount(1, 70)]
    for turn, number in enumerate(numbers):
        signum = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)[turn % 4]
        model_dir = tmp_path / str(turn)
        first = run(undisturbed[0], model_dir, 'signal:%d:%d' % (number + 1, signum))
        description = '%s at moment %d' % (signal.Signals(signum).name, number + 1)
        if signum == signal.SIGKILL and first is not None:
            first.stderr = ''   # whatever was cut off
        judge(campaign, 'training: ' + signal.Signals(signum).name, description, first, model_dir, undisturbed)
        shutil.rmtree(str(model_dir))


def killed_and_resumed(campaign, kind, folder, root, share, whole, session, wanted='', **fields):
    """Kills runs at moments of an undisturbed one; resumed, the last checkpoints must have equal tensors.

    Args:
      session: function (model_dir, disturbance, **fields) -> finished process.
      share, whole: numbers of kills, see Campaign.amount.
      wanted: text that the undisturbed run prints.
    """
    expected = session(root / 'whole', 'count', **fields)
    assert expected.returncode == 0 and wanted in expected.stdout + expected.stderr, expected.stderr
    last = tensors(root / 'whole')
    moments = int(expected.stderr.split('moments: ')[1].split()[0])
    for turn, number in enumerate(campaign.rng.permutation(moments)[:campaign.amount(share, whole)]):
        model_dir = root / str(turn)
        session(model_dir, 'signal:%d:9' % (number + 1), **fields)
        done = session(model_dir, **fields)
        if done is None or done.returncode:
            campaign.judge(kind, done, 'moment %d' % (number + 1))
            continue
        after = tensors(model_dir)
        same = set(after) == set(last) and all(np.array_equal(after[name], last[name]) for name in last)
        campaign.record(kind, 'resumed' if same else 'silent', 'moment %d of %d' % (number + 1, moments))
        shutil.rmtree(str(model_dir))


@pytest.mark.faults
def test_kills_around_rollbacks(campaign, undisturbed, tmp_path):
    """In bad steps, in the two rollbacks and in the sessions after them.

    A kill between the bad steps and the note of the rollback repeats them: the same rollback follows.
    """
    def session(model_dir, disturbance='', **fields):
        return run(undisturbed[0], model_dir, disturbance, nan='20-22:some', **fields)
    killed_and_resumed(campaign, 'training: killed around a rollback', undisturbed[0], tmp_path, 1, 15, session,
                       'ROLLBACK 2 of 3', bad_steps=2, max_rollbacks=3, offset_limit=100.)


@pytest.mark.faults
def test_kills_around_validation(campaign, undisturbed, tmp_path):
    """In the restoration of the clips, and while the best checkpoint is kept."""
    clips = write_clips(tmp_path / 'clips', (4,), (32, 48))

    def session(model_dir, disturbance='', **fields):
        return run(undisturbed[0], model_dir, disturbance, **fields)
    killed_and_resumed(campaign, 'training: killed around validation', undisturbed[0], tmp_path, 1, 15, session,
                       'validation: step 8', val_dir=clips, eval_every=8, image_every=8, eval_frames=3, steps=24)


@pytest.mark.faults
def test_one_rank_of_two_is_killed(campaign, undisturbed, tmp_path):
    """The other one ends as well, the command reports the rank, and the job continues from its last checkpoint."""
    folder, fields = undisturbed[0], dict(num_devices=2, batch_size=1, steps=12)
    whole = run(folder, tmp_path / 'whole', **fields)
    assert whole is not None and whole.returncode == 0, whole and whole.stderr
    last = tensors(tmp_path / 'whole')
    for turn in range(campaign.amount(1, 4)):
        model_dir, number = tmp_path / str(turn), int(campaign.rng.randint(10, 50))
        described = 'rank %d at moment %d' % (turn % 2, number)
        first = run(folder, model_dir, 'rank:%d;signal:%d:9' % (turn % 2, number), **fields)
        if first is not None and first.returncode == 0:   # the rank had ended before that moment
            campaign.record('training: one rank of two is killed', 'harmless', described)
            continue
        campaign.judge('training: one rank of two is killed', first, described, ['rank %d' % (turn % 2)])
        done = run(folder, model_dir, **fields)
        if done is None or done.returncode:
            campaign.judge('training: one rank of two, resumed', done, described)
            continue
        after = tensors(model_dir)
        same = all(np.allclose(after[name], last[name], 1e-4, 1e-6) for name in last)
        campaign.record('training: one rank of two, resumed', 'resumed' if same else 'silent', described)


def test_full_disk(campaign, undisturbed, tmp_path):
    """While starting, while writing events, while saving: an error that names the file, and the run continues later."""
    folder = undisturbed[0]
    sizes = sorted(campaign.rng.randint(4, 120, campaign.amount(1, 12)))
    for kilobytes in sizes:
        with small_disk(tmp_path / ('disk%d' % kilobytes), kilobytes) as (disk, limit):
            first = run(folder, os.path.join(disk, 'run'), limit=limit)
            described = '%d kB' % kilobytes
            if first is not None and first.returncode == 0:
                campaign.record('training: disk full', 'harmless', described)
                continue
            campaign.judge('training: disk full', first, described, names=[disk])
            room = tmp_path / ('room%d' % kilobytes)
            shutil.copytree(disk, str(room))
        if first is not None:
            first.stderr = ''   # judged above
            judge(campaign, 'training: after a full disk', described, first, room / 'run', undisturbed)


@pytest.mark.faults
def test_read_only_directory(campaign, undisturbed, tmp_path):
    with small_disk(tmp_path / 'disk', 1000) as (disk, limit):
        if limit is not None:
            pytest.skip('no file systems may be mounted here')
        subprocess.check_call(['mount', '-o', 'remount,ro', disk])
        campaign.judge('training: read-only directory', run(undisturbed[0], os.path.join(disk, 'run')), names=[disk])


@pytest.mark.faults
@pytest.mark.parametrize('disturbance', ['slow:0.2', 'clock:-3600'])
def test_slow_disk_and_clock_set_back(campaign, undisturbed, tmp_path, disturbance):
    folder = undisturbed[0]
    first = run(folder, tmp_path / 'run', disturbance + ';signal:30:15')
    judge(campaign, 'training: ' + disturbance.split(':')[0], disturbance, first, tmp_path / 'run', undisturbed)


@pytest.mark.faults
def test_batches_with_nan(campaign, undisturbed, tmp_path):
    """Skipped updates leave the weights as they were; the run ends with finite weights."""
    folder = undisturbed[0]
    for turn in range(campaign.amount(1, 10)):
        first = int(campaign.rng.randint(2, 38))
        done = run(folder, tmp_path / str(turn), nan='%d-%d' % (first, first + campaign.rng.randint(0, 3)))
        if done is None or done.returncode or 'GUARD' not in done.stderr:
            campaign.judge('training: NaN in a batch', done, str(first))
            continue
        sound = all(np.all(np.isfinite(value)) for value in tensors(tmp_path / str(turn)).values())
        campaign.record('training: NaN in a batch', 'reported' if sound else 'silent', str(first))


@pytest.mark.faults
def test_damaged_newest_checkpoint(campaign, undisturbed, tmp_path):
    """A flip or a cut in any file of the newest checkpoint: the run goes back to the one before, by name."""
    folder = undisturbed[0]
    run(folder, tmp_path / 'whole', keep_last=3)
    for turn in range(campaign.amount(2, 20)):
        model_dir = tmp_path / str(turn)
        shutil.copytree(str(tmp_path / 'whole'), str(model_dir))
        paths = checkpoints.files_of(checkpoints.latest(str(model_dir)))
        path = paths[turn % len(paths)]
        with open(path, 'r+b') as file:
            data = bytearray(file.read())
            place = int(campaign.rng.randint(len(data)))
            if turn % 3 == 2:
                file.truncate(place)
            else:
                data[place] ^= 1 << campaign.rng.randint(8)
                file.seek(0)
                file.write(data)
        done = run(folder, model_dir, keep_last=3)
        if done is None or done.returncode or os.path.basename(path).split('.data')[0] not in done.stderr:
            campaign.judge('training: damaged checkpoint', done, path)
            continue
        last = undisturbed[2]
        after = tensors(model_dir)
        same = all(np.array_equal(after[name], last[name]) for name in last)
        campaign.record('training: damaged checkpoint', 'resumed' if same else 'silent', path)
        shutil.rmtree(str(model_dir))
