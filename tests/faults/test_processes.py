"""Processes of a job that are killed, stopped or signalled, eight ranks, and unusual environments of programs."""
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tiny_training
from forked import PATIENCE
from helpers import smooth_frames, tiny_checkpoint
from packed import write_video
from training_runs import PROGRAM, RECIPE, environment, steps, tensors

from data_tools.media.images import read_image
from edvr import checkpoints

FIELDS = dict(RECIPE, steps=12, cosine_periods=(12,), save_every=2)
STOPPED = 60.   # seconds for which a rank stands still
HEAD = 'pipe=$(mktemp -u) && mkfifo "$pipe" && { head -n 1 "$pipe" > /dev/null & } && exec > "$pipe" && rm "$pipe"'
# (name, commands of the shell that runs the program, {variable: value, None to unset})
UNUSUAL = [
    ('closed stdin', 'exec <&-', {}), ('closed stdout', 'exec >&-', {}), ('closed stderr', 'exec 2>&-', {}),
    ('full stdout', 'exec > /dev/full', {}), ('full stdout and stderr', 'exec > /dev/full 2>&1', {}),
    ('| head -1', HEAD, {}), ('HOME is not set', '', dict(HOME=None)),
    ('HOME does not exist', '', dict(HOME='/nonexistent')), ('TMPDIR does not exist', '', dict(TMPDIR='/nonexistent')),
    ('umask 077', 'umask 077', {}), ('C locale', '', dict(LC_ALL='C', LANG='C', PYTHONUTF8='0')),
    ('64 descriptors', 'ulimit -n 64', {}), ('32 descriptors', 'ulimit -n 32', {}),
    ('one core', 'taskset -p -c 0 $$ > /dev/null', {}), ('TF_CONFIG is no JSON', '', dict(TF_CONFIG='{')),
    ('TF_CONFIG of nobody', '', dict(TF_CONFIG='{}'))]


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tiny_training.make_set(tmp_path_factory.mktemp('processes') / 'set', windows=64, shards=16)


@pytest.fixture(scope='module')
def whole(folder, tmp_path_factory):
    """Returns function(devices) -> tensors of an undisturbed training."""
    found = {}

    def train(devices):
        if devices not in found:
            run = tmp_path_factory.mktemp('whole') / 'run'
            done = Job(folder, run, **job_of(devices)).finish()
            assert done is not None and done.returncode == 0, done and done.stderr
            found[devices] = tensors(run)
        return found[devices]
    return train


class Started:
    """Runs a program as real processes in a process group, whose output goes to a file."""

    def __init__(self, log, command, shell='', variables=None):
        """shell: commands that the shell runs before the program; variables: {name: value, None to unset}."""
        self._log = str(log)
        changed = environment(**(variables or {}))
        with open(self._log, 'wb') as file:
            self.process = subprocess.Popen(
                ['sh', '-c', shell + '\nexec "$@"', 'sh', sys.executable] + command, stdout=file, stderr=file,
                start_new_session=True, preexec_fn=default_signals,
                env={name: value for name, value in changed.items() if value is not None})

    def output(self):
        with open(self._log, errors='replace') as file:
            return file.read()

    def finish(self, more=0.):
        """subprocess.CompletedProcess with the output as `stderr`; None for one that had to be killed."""
        try:
            code = self.process.wait(PATIENCE + more)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return None
        return subprocess.CompletedProcess([], code, '', self.output())


class Job(Started):
    """Runs a training."""

    def __init__(self, folder, model_dir, shell='', variables=None, pause=0., **fields):
        super().__init__(str(model_dir) + '.log',
                         [PROGRAM] + tiny_training.arguments(folder, model_dir, **dict(FIELDS, **fields)), shell,
                         dict(variables or {}, TINY_TRAINING_SLEEP=str(pause)))

    def wait_for(self, step):
        end = time.monotonic() + PATIENCE
        while self.process.poll() is None and 'Step:%d,' % step not in self.output() and time.monotonic() < end:
            time.sleep(.05)

    def ranks(self):
        """The ids of the processes of the ranks, by rank."""
        found = {}
        for name in os.listdir('/proc'):
            try:
                with open('/proc/%s/environ' % name, 'rb') as file:
                    values = dict(item.split(b'=', 1) for item in file.read().split(b'\0') if b'=' in item)
            except OSError:   # no process, or one that has ended
                continue
            if values.get(b'EDVR_LAUNCHED') == str(self.process.pid).encode():
                found[values[b'TF_CONFIG'].rsplit(b'"index":', 1)[1].strip(b' }')] = int(name)
        return [found[rank] for rank in sorted(found)]


def job_of(devices):
    """Fields of a job of so many ranks."""
    return dict(num_devices=devices, batch_size=1) if devices > 1 else {}


def default_signals():
    """Undoes that these signals are ignored, as under nohup and in the background of a shell."""
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)


def alive(pid):
    try:
        with open('/proc/%d/stat' % pid) as file:
            return file.read().rpartition(')')[2].split()[0] != 'Z'
    except OSError:
        return False


def same(model_dir, last):
    after = tensors(model_dir)
    return set(after) == set(last) and all(np.allclose(after[name], last[name], 1e-4, 1e-6) for name in last)


@pytest.mark.faults
def test_a_launcher_that_is_killed_alone_leaves_no_rank(campaign, folder, whole, tmp_path):
    for turn in range(campaign.amount(1, 3)):
        run = tmp_path / str(turn)
        job = Job(folder, run, pause=.2, **job_of(2))
        job.wait_for(3 + turn)
        ranks = job.ranks()
        assert len(ranks) == 2, job.output()
        job.process.kill()
        job.process.wait()
        end = time.monotonic() + 20
        while any(map(alive, ranks)) and time.monotonic() < end:
            time.sleep(.05)
        left = [pid for pid in ranks if alive(pid)]
        campaign.record('processes: launcher killed alone', 'hung' if left else 'reported', 'turn %d' % turn)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        done = Job(folder, run, **job_of(2)).finish()
        if done is None or done.returncode:
            campaign.judge('processes: launcher killed, resumed', done, 'turn %d' % turn)
        else:
            campaign.record('processes: launcher killed, resumed', 'resumed' if same(
                run, whole(2)) else 'silent', 'turn %d' % turn)


@pytest.mark.faults
@pytest.mark.parametrize('rank', [0, 1])
def test_a_rank_that_stands_still_for_a_minute(campaign, folder, whole, tmp_path, rank):
    job = Job(folder, tmp_path / 'run', pause=.2, **job_of(2))
    job.wait_for(3)
    pid = job.ranks()[rank]
    os.kill(pid, signal.SIGSTOP)
    time.sleep(STOPPED)
    os.kill(pid, signal.SIGCONT)
    done, kind = job.finish(), 'processes: a rank stands still'
    if done is None or done.returncode:
        campaign.judge(kind, done, 'rank %d' % rank)
    else:
        campaign.record(kind, 'resumed' if same(tmp_path / 'run', whole(2)) else 'silent', 'rank %d' % rank)


@pytest.mark.faults
def test_eight_ranks(campaign, folder, tmp_path):
    done = Job(folder, tmp_path / 'run', steps=4, cosine_periods=(4,), **job_of(8)).finish(480.)
    if done is None or done.returncode or sorted(steps(done.stderr)) != [1, 2, 3, 4]:
        campaign.judge('processes: eight ranks', done)
    else:
        campaign.record('processes: eight ranks', 'harmless')


@pytest.mark.faults
@pytest.mark.parametrize('number', [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_processes_of_a_terminal(campaign, folder, whole, tmp_path, number):
    """Ends a job as a terminal that is closed, or Ctrl-C there, does: no step is lost."""
    job, kind = Job(folder, tmp_path / 'run', pause=.2, **job_of(2)), 'processes: signal to two ranks'
    job.wait_for(3)
    ranks = job.ranks()
    os.killpg(job.process.pid, number)
    done = job.finish()
    left = [pid for pid in ranks if alive(pid)]
    if done is None or left or done.returncode != 128 + number or 'Traceback' in done.stderr:
        campaign.judge(kind, done, '%s, left: %s' % (number.name, left))
        return
    saved = checkpoints.step_of(checkpoints.latest(str(tmp_path / 'run')))
    again = Job(folder, tmp_path / 'run', **job_of(2)).finish()
    equal = again is not None and again.returncode == 0 and same(tmp_path / 'run', whole(2))
    campaign.record(kind, 'resumed' if equal and saved >= max(steps(done.stderr)) else 'silent', '%s: saved %d: %s' % (
        number.name, saved, again and again.stderr[-2000:]))


@pytest.mark.faults
@pytest.mark.parametrize('devices, name, shell, variables', [(1, *case) for case in UNUSUAL] + [
    (2, *case) for case in UNUSUAL if case[0] in ('full stdout', '| head -1', 'umask 077', '64 descriptors')])
def test_training_in_an_unusual_environment(campaign, folder, whole, tmp_path, devices, name, shell, variables):
    """It makes no difference, or is one line."""
    kind, run = 'processes: unusual environment, training', tmp_path / 'm\u00f6del'
    done = Job(folder, run, shell, variables, **job_of(devices)).finish()
    if done is None or done.returncode:
        campaign.judge(kind, done, name)
    else:
        campaign.record(kind, 'harmless' if same(run, whole(devices)) else 'silent', name)


@pytest.fixture(scope='module')
def restored(tmp_path_factory):
    """(arguments of a restoration without its output, frames that it gives)."""
    root = tmp_path_factory.mktemp('f\u00fcr')
    write_video(root / 'film \u96ea.mkv', smooth_frames(4, 16, 24))
    arguments = ['-m', 'edvr.infer', '--checkpoint=' + tiny_checkpoint(root / 'model'), '--device=cpu', '--kernels=tf',
                 '--input=%s' % (root / 'film \u96ea.mkv')]
    done = Started(root / 'log', arguments + ['--output=%s' % (root / 'out')]).finish()
    assert done is not None and done.returncode == 0, done and done.stderr
    return arguments, images(root / 'out')


def images(folder):
    return [read_image(str(folder / name)) for name in sorted(os.listdir(str(folder))) if name.endswith('.png')]


@pytest.mark.faults
@pytest.mark.parametrize('name, shell, variables', UNUSUAL)
def test_restoring_in_an_unusual_environment(campaign, restored, tmp_path, name, shell, variables):
    """To frames, then to a video, for which there is a scratch folder: no difference, or one line."""
    arguments, frames = restored
    kind, out = 'processes: unusual environment, infer', tmp_path / '\u96ea'
    for output, is_whole in ((out, lambda: np.array_equal(images(out), frames)),
                             (tmp_path / '\u96ea.mkv', (tmp_path / '\u96ea.mkv').exists)):
        done = Started(tmp_path / 'log', arguments + ['--output=%s' % output], shell, variables).finish()
        if done is None or done.returncode:
            campaign.judge(kind, done, name)
        else:
            campaign.record(kind, 'harmless' if is_whole() else 'silent', '%s: %s' % (name, done.stderr[-500:]))
