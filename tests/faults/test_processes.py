"""Processes of a job that are killed or stopped alone, eight ranks, and unusual environments of a training."""
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tiny_training
from forked import PATIENCE
from training_runs import PROGRAM, RECIPE, environment, steps, tensors

FIELDS = dict(RECIPE, steps=12, cosine_periods=(12,), save_every=2)
STOPPED = 60.   # seconds for which a rank stands still


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
            done = Job(folder, run, **(dict(num_devices=devices, batch_size=1) if devices > 1 else {})).finish()
            assert done is not None and done.returncode == 0, done and done.stderr
            found[devices] = tensors(run)
        return found[devices]
    return train


class Job:
    """A training as real processes, whose output goes to a file."""

    def __init__(self, folder, model_dir, shell='', variables=None, pause=0., **fields):
        """shell: commands that the shell runs before the program; variables: {name: value, None to unset}."""
        self._log = str(model_dir) + '.log'
        changed = dict(environment(TINY_TRAINING_SLEEP=str(pause)), **(variables or {}))
        with open(self._log, 'wb') as log:
            self.process = subprocess.Popen(
                ['sh', '-c', shell + '\nexec "$@"', 'sh', sys.executable, PROGRAM]
                + tiny_training.arguments(folder, model_dir, **dict(FIELDS, **fields)), stdout=log, stderr=log,
                env={name: value for name, value in changed.items() if value is not None})

    def output(self):
        with open(self._log, errors='replace') as file:
            return file.read()

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

    def finish(self, more=0.):
        """subprocess.CompletedProcess with the output as `stderr`; None for one that had to be killed."""
        try:
            code = self.process.wait(PATIENCE + more)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return None
        return subprocess.CompletedProcess([], code, '', self.output())


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
        job = Job(folder, run, num_devices=2, batch_size=1, pause=.2)
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
        done = Job(folder, run, num_devices=2, batch_size=1).finish()
        if done is None or done.returncode:
            campaign.judge('processes: launcher killed, resumed', done, 'turn %d' % turn)
        else:
            campaign.record('processes: launcher killed, resumed', 'resumed' if same(
                run, whole(2)) else 'silent', 'turn %d' % turn)


@pytest.mark.faults
@pytest.mark.parametrize('rank', [0, 1])
def test_a_rank_that_stands_still_for_a_minute(campaign, folder, whole, tmp_path, rank):
    job = Job(folder, tmp_path / 'run', num_devices=2, batch_size=1, pause=.2)
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
    done = Job(folder, tmp_path / 'run', num_devices=8, batch_size=1, steps=4, cosine_periods=(4,)).finish(480.)
    if done is None or done.returncode or sorted(steps(done.stderr)) != [1, 2, 3, 4]:
        campaign.judge('processes: eight ranks', done)
    else:
        campaign.record('processes: eight ranks', 'harmless')


@pytest.mark.faults
@pytest.mark.parametrize('name, shell, variables', [
    ('closed stdin', 'exec <&-', {}), ('HOME is not set', '', dict(HOME=None)),
    ('HOME does not exist', '', dict(HOME='/nonexistent')), ('TMPDIR does not exist', '', dict(TMPDIR='/nonexistent')),
    ('umask 077', 'umask 077', {}), ('C locale', '', dict(LC_ALL='C', LANG='C', PYTHONUTF8='0')),
    ('64 descriptors', 'ulimit -n 64', {}), ('one core', 'taskset -p -c 0 $$ > /dev/null', {}),
    ('TF_CONFIG is no JSON', '', dict(TF_CONFIG='{')), ('TF_CONFIG of nobody', '', dict(TF_CONFIG='{}')),
    ('32 descriptors', 'ulimit -n 32', {})])
def test_an_unusual_environment_makes_no_difference_or_is_one_line(campaign, folder, whole, tmp_path, name, shell,
                                                                   variables):
    kind = 'processes: unusual environment'
    run = tmp_path / 'm\u00f6del'
    done = Job(folder, run, shell, variables).finish()
    if done is None or done.returncode:
        campaign.judge(kind, done, name)
    else:
        campaign.record(kind, 'harmless' if same(run, whole(1)) else 'silent', name)
