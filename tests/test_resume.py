"""A process that receives a signal saves and reports it; the resumed run equals an uninterrupted one."""
import signal
import time

import preloaded
import pytest
import tiny_training
from training_runs import PROGRAM, RECIPE, environment, steps

from edvr import checkpoints


class Session:
    """A training process whose output can be read while it runs."""

    def __init__(self, folder, model_dir, pause=0.):
        self._log = str(model_dir) + '.log'
        with open(self._log, 'w') as log:
            self._process = preloaded.start(PROGRAM, tiny_training.arguments(folder, model_dir, **RECIPE), log, log,
                                            env=environment(TINY_TRAINING_SLEEP=str(pause)))

    def output(self):
        with open(self._log) as file:
            return file.read()

    def wait_for(self, step):
        while self._process.poll() is None and 'Step:%d,' % step not in self.output():
            time.sleep(.01)

    def send_signal(self, number):
        self._process.send_signal(number)

    def finish(self):
        """The exit code."""
        return self._process.wait(timeout=120)


@pytest.fixture(scope='module')
def uninterrupted(tmp_path_factory):
    """(set, its log lines) of a run from start to end."""
    root = tmp_path_factory.mktemp('uninterrupted')
    folder = tiny_training.make_set(root / 'set')
    session = Session(folder, root / 'run')
    assert session.finish() == 0, session.output()
    expected = steps(session.output())
    assert sorted(expected) == list(range(1, 41))
    return folder, expected


def assert_same(found, expected):
    assert set(found) <= set(expected)
    for step in found:
        assert found[step] == expected[step], step


def test_signals_save_and_report(tmp_path, uninterrupted):
    folder, expected = uninterrupted
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    sessions = [Session(folder, tmp_path / str(int(number)), pause=.05) for number in numbers]   # at the same time
    for session, number in zip(sessions, numbers):
        session.wait_for(3)
        session.send_signal(number)
        assert session.finish() == 128 + number, session.output()
        done = max(steps(session.output()))
        assert '%s: stopped at step %d of 40' % (signal.Signals(number).name, done) in session.output()
        assert checkpoints.step_of(checkpoints.latest(str(tmp_path / str(int(number))))) == done
        assert_same(steps(session.output()), expected)


def test_a_training_whose_output_nobody_reads_goes_on(tmp_path, uninterrupted):
    with preloaded.unread() as lost:
        process = preloaded.start(PROGRAM, tiny_training.arguments(uninterrupted[0], tmp_path / 'run',
                                                                   **dict(RECIPE, steps=6, cosine_periods=(6,))),
                                  lost, lost, env=environment())
        assert process.wait(timeout=120) == 0
    assert checkpoints.step_of(checkpoints.latest(str(tmp_path / 'run'))) == 6
