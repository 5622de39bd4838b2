"""Training on several ranks by one command, and its continuation on another number of them."""
import json
import os
import signal

import preloaded
import pytest
import tiny_training
from facts import check_facts
from npu_fixtures import no_job  # noqa: F401 fixture
from training_runs import PROGRAM, environment, steps, stop_rank_0_last, tensors

from edvr import checkpoints
from edvr.launch import addresses, rendezvous
from edvr.network.networks import NETWORKS
from edvr.training.training_run import Run

OPTIONS = dict(save_every=1, cosine_periods=(4,), ema_decay=.9)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tiny_training.make_set(tmp_path_factory.mktemp('ranks') / 'set')


def train(folder, run, **options):
    """Runs the training program with the tiny network; returns the finished process."""
    return preloaded.run(PROGRAM, tiny_training.arguments(folder, run, **dict(OPTIONS, **options)), 200,
                         env=environment())


def test_two_ranks_then_one_with_the_same_whole_batch(no_job, folder, tmp_path, monkeypatch, capsys):  # noqa: F811
    run = tmp_path / 'run'
    done = train(folder, run, num_devices=2, batch_size=1, steps=2)
    assert done.returncode == 0, done.stdout + done.stderr
    check_facts(done.stdout, '2 ranks', 'CPU', 'rank 0 shows here')
    assert sorted(steps(done.stdout)) == [1, 2]
    assert (run / 'logs' / 'rank_1.log').read_text().startswith('rank 1 of 2; rank 0 reports')
    before = tensors(run)
    assert before['global_step'] == 2
    monkeypatch.setitem(NETWORKS, 'edvr', tiny_training.as_network())
    assert Run(*tiny_training.configs(folder, run, batch_size=2, steps=4, **OPTIONS)).train() == 0
    output = capsys.readouterr().out
    check_facts(output, 'the same whole batch', '1 x --batch_size=2', '2 x --batch_size=1')
    assert 'continuing %s at step 2' % run in output and sorted(steps(output)) == [3, 4]
    assert set(tensors(run)) == set(before)   # weights, optimizer, averages: nothing is lost or made anew


@pytest.mark.parametrize('signum', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_rank_that_waits(no_job, folder, tmp_path, monkeypatch, signum, capsys):  # noqa: F811
    port, other = addresses.free_ports(2)
    monkeypatch.setenv('TF_CONFIG', json.dumps(dict(
        cluster=dict(worker=['127.0.0.1:%d' % port, '127.0.0.1:%d' % other]), task=dict(type='worker', index=0))))
    run = Run(*tiny_training.configs(folder, tmp_path / 'run', batch_size=1))

    accept = rendezvous._accept

    def signalled(*arguments):
        os.kill(os.getpid(), signum)
        return accept(*arguments)
    monkeypatch.setattr(rendezvous, '_accept', signalled)
    assert run.train() == 128 + signum
    assert '%s: stopped at step 0 of 6' % signal.Signals(signum).name in capsys.readouterr().out


def test_a_host_that_is_stopped_first_goes_on_until_rank_0_has_saved(no_job, folder, tmp_path):  # noqa: F811
    """Two processes that TF_CONFIG makes ranks, as those of GPUs of two hosts."""
    workers = ['127.0.0.1:%d' % port for port in addresses.free_ports(2)]
    arguments = tiny_training.arguments(folder, tmp_path / 'run', batch_size=1, steps=5000, save_every=5000)
    codes, texts = stop_rank_0_last(tmp_path, [arguments + ['--stop_timeout=15']] * 2, [
        environment(TINY_TRAINING_SLEEP='.05', TF_CONFIG=json.dumps(dict(
            cluster=dict(worker=workers), task=dict(type='worker', index=index)))) for index in (0, 1)])
    assert codes == [128 + signal.SIGTERM] * 2, texts
    assert checkpoints.step_of(checkpoints.latest(str(tmp_path / 'run'))) == max(steps(texts[0])) > 4
    assert 'Traceback' not in texts[1]


def test_a_rank_that_fails_ends_the_job_with_its_reason(no_job, folder, tmp_path):  # noqa: F811
    """Both see the problem; the command ends with it, and nothing stays behind."""
    done = train(folder, tmp_path / 'run', num_devices=2, batch_size=1, init_from='/nowhere')
    assert done.returncode == 1
    check_facts(done.stdout + done.stderr, '/nowhere', 'directory with checkpoints')
    assert 'exit code 1' in done.stderr and str(tmp_path / 'run' / 'logs' / 'rank_') in done.stderr
