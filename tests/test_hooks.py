"""The exact log line, its arithmetic, the curves, and steps in loops."""
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from conftest import ROOT
from facts import check_facts

from edvr.config import TrainingConfig
from edvr.data.input_meter import InputMeter
from edvr.tensorboard.run_record import RunRecord
from edvr.training.hooks import bottleneck, input_wait, signals
from edvr.training.hooks.bottleneck import DECODING, DEVICE, HOST, STORAGE, InputUse
from edvr.training.hooks.log_line import LogLine
from edvr.training.hooks.pace import DeviceHours
from edvr.training.hooks.step_hook import Callback, Control, LoopHook, Report, reached
from edvr.training.hooks.summaries import Curves
from edvr.training.model_fn import DATA_WAIT, STEP_KEY, WATCHED, WATCHED_KEY

VALUES = dict(dict.fromkeys(WATCHED, 0.), loss=9476.21899544, psnr=27.314, learning_rate=4e-4, data_wait=.00629,
              offset_l3=.011, offset_l2=.12, offset_l1=1.5, offset_cas=12.)


def report(step, previous=None, seconds=.20962, **values):
    return Report(step, step - 1 if previous is None else previous, dict(VALUES, **values), seconds, None)


class Clock:
    now = time.mktime((2026, 1, 31, 8, 34, 46, 0, 0, -1))

    def __call__(self):
        return self.now


def hours():
    """12.5 hours of devices, which stand still."""
    return DeviceHours(8, 12.5, Clock())


def log(config, reports, batch=4, clock=None):
    part = LogLine(config, batch, hours(), clock or Clock())
    part.start(None, 0)
    for each in reports:
        part.after_run(each)


def test_line_to_the_letter(capsys):
    log(TrainingConfig(steps=620, log_every=20), [report(step) for step in range(1, 21)])
    assert capsys.readouterr().out == (
        '2026-01-31 08:34:46 Step:20, lr:0.00040000, loss:9476.21899544, time:209.62ms, fps:19.08, eta:0 s, '
        'device-hours:12.50, input-bound 3%, psnr:27.31dB, |offset| l3:0.01 l2:0.12 l1:1.50 cas:12.00\n')


def test_the_sum_of_the_loss_is_explained_once(capsys):
    part = LogLine(TrainingConfig(log_every=5), 4, hours(), Clock(), values_in_loss=1572864)
    part.start(None, 0)
    for step in range(1, 11):
        part.after_run(report(step))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == 'loss: a sum over 1.57 million values, 0.00602 each' and len(lines) == 3


def test_sets_in_log_and_curves(tmp_path, capsys):
    """Shares and losses of the steps since the last line, without the first run; a set without samples has no point."""
    steps = [{'set_share/A': .75, 'set_loss/A': .3, 'set_share/B': .25, 'set_loss/B': .05},
             {'set_share/A': .25, 'set_loss/A': .1, 'set_share/B': .75, 'set_loss/B': .15},
             {'set_share/A': 1., 'set_loss/A': .2, 'set_share/B': 0., 'set_loss/B': 0.}]
    reports = [report(step, **values) for step, values in enumerate(steps, 1)]
    log(TrainingConfig(log_every=2), reports)
    assert capsys.readouterr().out.endswith(', sets A:25% 0.40000 B:75% 0.20000\n')
    with RunRecord(str(tmp_path), 0) as record:
        curves = Curves(TrainingConfig(summary_every=1), 4, 1000, record, hours())
        for each in reports:
            curves.after_run(each)
    _, _, first, _, last = events(tmp_path / 'training')
    assert first[1]['watch_data/share/A'] == .75 and first[1]['watch_data/loss_per_pixel/B'] == pytest.approx(.2)
    assert last[1]['watch_data/share/B'] == 0 and 'watch_data/loss_per_pixel/B' not in last[1]


def test_eta_counts_pauses_and_the_first_run_counts_not(capsys):
    clock = Clock()
    part = LogLine(TrainingConfig(steps=110, log_every=5), 4, hours(), clock)
    part.start(None, 0)
    for step in range(1, 11):
        part.after_run(report(step, seconds=60. if step == 1 else .1))
        clock.now += 2.   # of which .1 are steps: the rest went by saving
    first, second = capsys.readouterr().out.splitlines()
    assert 'time:100.00ms, fps:40.00, eta:3 min 30 s,' in first
    assert 'eta:3 min 20 s,' in second


def test_honesty_when_the_wait_is_not_measured(capsys):
    log(TrainingConfig(log_every=2), [report(1), report(2, seconds=1., data_wait=.61)])
    log(TrainingConfig(log_every=2), [report(1, data_wait=-1.), report(2, data_wait=-1.)])
    slow, unknown = capsys.readouterr().out.splitlines()
    assert 'waits for data 61%,' in slow
    assert 'data wait not measured on this device,' in unknown


def use(decoding=1., ready=64., own=.5, everybody=.5):
    return InputUse(105.32, decoding, ready, 32, own, everybody)


@pytest.mark.parametrize('wait, found, limit', [
    (.03, use(ready=0.), DEVICE), (.1, use(decoding=.1), DEVICE), (None, use(decoding=.1, ready=16.), DEVICE),
    (.2, use(decoding=.49), STORAGE), (None, use(decoding=.1, ready=15.), STORAGE),
    (.2, use(decoding=.5), DECODING), (.9, use(own=.8, everybody=1.), DECODING),
    (.2, use(own=.3, everybody=.95), HOST), (.2, use(decoding=.1, own=.3, everybody=.95), HOST),
    (.2, use(decoding=.1, own=.3, everybody=.6), STORAGE), (None, use(ready=0., own=.2, everybody=1.), HOST)])
def test_bottleneck(wait, found, limit):
    assert bottleneck.find(wait, found) == limit
    text = bottleneck.describe(wait, found)
    check_facts(text, 'read 105.3 MB/s', '%d samples ready' % found.ready)
    assert (limit + ' is too slow' in text) == (limit != DEVICE)
    assert limit == DEVICE or bottleneck.ADVICE[limit] in text
    assert bottleneck.describe(.034, use()) == 'input-bound 3%, read 105.3 MB/s, 64 samples ready'


def test_input_in_log_and_curves(tmp_path, capsys):
    """Rates are those of the time in steps, and not of pauses; prepared samples are averages since the last line."""
    meter = InputMeter(4, per_step=2)
    with tf.Graph().as_default(), tf.Session() as session:
        costs = tf.placeholder(tf.float64, [4, 2])
        counted = meter.counted(costs, tf.constant(7))

        def prepare(batches):
            for _ in range(batches):
                assert session.run(counted, {costs: [[1e6, .01]] * 4}) == 7

        with RunRecord(str(tmp_path), 0) as record:
            line = LogLine(TrainingConfig(log_every=2), 8, hours(), Clock(), meter=meter)
            curves = Curves(TrainingConfig(summary_every=2), 8, 1, record, hours(), meter=meter)
            line.start(None, 10)
            for step, batches in ((11, 5), (12, 2), (13, 1), (14, 2)):
                prepare(batches)
                for part in (line, curves):
                    part.after_run(report(step, seconds=.5, data_wait=.2))
    # prepared and used samples: 20 - 8, 28 - 16, 32 - 24, 40 - 32
    text = capsys.readouterr().out.splitlines()[-1]
    check_facts(text, 'waits for data 40%', 'read 12.0 MB/s', '8 samples ready')
    values = events(tmp_path / 'training')[-1][1]
    assert values['watch_input/read_mb_per_second'] == 12 and values['watch_input/samples_ready'] == 8
    assert values['watch_input/decoding_busy_share'] == pytest.approx(.12)
    assert 0 <= values['watch_input/own_cores_share'] <= values['watch_input/all_cores_share'] <= 1


def test_skipped_updates_are_counted_since_the_last_line(capsys):
    log(TrainingConfig(log_every=2), [report(step, skipped=skipped)
                                      for step, skipped in enumerate((0., 3., 3., 3., 3., 4.), 1)])
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition('skipped:')[2] for line in lines] == ['3', '', '1']


def test_loops_of_several_steps(capsys):
    """With iterations_per_loop=8 the host sees steps 8, 16, 24: each multiple of 20 is logged at the first of them
    after it."""
    runs = [report(step, step - 8, seconds=.8) for step in range(8, 81, 8)]
    assert [each.step for each in runs if reached(each, 20)] == [24, 40, 64, 80]
    assert not any(reached(each, 0) for each in runs)
    log(TrainingConfig(log_every=20), runs)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split('Step:')[1].split(',')[0] for line in lines] == ['24', '40', '64', '80']
    assert all('time:100.00ms, fps:40.00' in line for line in lines)


def events(folder):
    """[(step, {tag: value})] of the event file; images give their size."""
    found = []
    for event in tf.train.summary_iterator(str(next(folder.glob('events*')))):
        values = {value.tag: value.simple_value if value.HasField('simple_value') else value
                  for value in event.summary.value}
        if values or event.HasField('session_log'):
            found.append((event.step, values or event.session_log.status))
    return found


def test_curves(tmp_path):
    with RunRecord(str(tmp_path), 7) as record:
        record.text(7, 'configuration', '| a | b |')
        record.image(7, 'validation/sample', np.zeros([4, 6, 3], np.uint8))
        curves = Curves(TrainingConfig(summary_every=2), 4, 1000, record, hours())
        for step in (8, 9, 10):
            curves.after_run(report(step, seconds=.2, data_wait=.05))
        curves.after_run(report(12, 10, seconds=.2, data_wait=-1.))
    start, _, text, image, first, second, third = events(tmp_path / 'training')
    assert start == (8, tf.SessionLog.START)   # what an earlier session wrote from step 8 on is hidden
    assert text[1]['configuration'].tensor.string_val == [b'| a | b |']
    assert text[1]['configuration'].metadata.plugin_data.plugin_name == 'text'
    assert (image[1]['validation/sample'].image.width, image[1]['validation/sample'].image.height) == (6, 4)
    assert [first[0], second[0], third[0]] == [8, 10, 12]
    assert second[1] == pytest.approx({
        'train/loss': 9476.219, 'train/loss_per_pixel': 9.476219, 'train/psnr': 27.314, 'train/learning_rate': 4e-4,
        'watch_update/gradient_norm': 0., 'watch_update/skipped': 0., 'watch_speed/samples_per_second': 20.,
        'watch_speed/step_ms': 200., 'watch_speed/device_hours': 12.5, 'watch_input/data_wait_share': .25,
        'watch_offset/l3': .011, 'watch_offset/l2': .12, 'watch_offset/l1': 1.5, 'watch_offset/cas': 12.})
    assert 'watch_input/data_wait_share' not in third[1] and len(third[1]) == len(second[1]) - 1
    with open(str(tmp_path / 'scalars.jsonl')) as file:
        points = [json.loads(line) for line in file]
    assert [point['step'] for point in points] == [8, 10, 12] and points[1].pop('time') > 1.6e9
    assert points[1] == pytest.approx(dict(second[1], step=10))


def test_loop_hook_hands_over_steps_and_ends_the_session():
    class Recorder(Callback):
        seen = []

        def start(self, session, step):
            self.seen.append(('start', step))

        def after_run(self, report):
            self.seen.append((report.previous, report.step, report.values['loss']))
            control.signal = 15 if report.step >= 6 else None

        def finish(self, session, step):
            self.seen.append(('finish', step))

    control = Control()
    with tf.Graph().as_default():
        step = tf.train.get_or_create_global_step()
        advanced = step.assign_add(3)   # as a loop of three steps on the device
        tf.add_to_collection(STEP_KEY, advanced)
        tf.add_to_collection(WATCHED_KEY, tf.range(len(WATCHED), dtype=tf.float32))
        with tf.train.MonitoredSession(hooks=[LoopHook([Recorder()], control)]) as session:
            while not session.should_stop():
                session.run(advanced)
    assert Recorder.seen == [('start', 0), (0, 3, 0.), (3, 6, 0.), ('finish', 6)]


def test_data_wait_is_the_time_the_consumer_stands_still():
    def slow(number):
        time.sleep(.1)
        return number

    with tf.Graph().as_default(), tf.Session() as session:
        numbers = tf.data.Dataset.range(3).map(lambda number: ({'lq': tf.py_func(slow, [number], tf.int64)}, number))
        iterator = tf.data.make_initializable_iterator(input_wait.timed(numbers))
        session.run(iterator.initializer)
        features, label = iterator.get_next()
        waits = [session.run([features[DATA_WAIT], features['lq'], label]) for _ in range(3)]
    assert all(wait >= .1 for wait, _, _ in waits)
    assert [(lq, label) for _, lq, label in waits] == [(0, 0), (1, 1), (2, 2)]


@pytest.mark.parametrize('first', [signal.SIGHUP, signal.SIGTERM])
def test_a_further_sighup_does_not_end_the_saving_and_another_signal_does(first, monkeypatch, capfd):
    """Of a closed terminal, the shell and the kernel send one each."""
    monkeypatch.setattr(signals.interrupts, 'hangup', lambda: (signal.SIGHUP,))   # also if the tests run under nohup
    control = Control()
    with signals.signals(control):
        try:
            for number in (first, signal.SIGHUP, signal.SIGHUP):
                os.kill(os.getpid(), number)
        except KeyboardInterrupt:   # would end all tests
            pytest.fail('a further SIGHUP ended the saving')
        assert control.signal == first
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
    assert capfd.readouterr().err.count('finishing the step and saving') == 1


def test_a_rank_that_follows_goes_on_for_a_while(capfd):
    control = Control()
    with signals.signals(control, patience=.5):
        os.kill(os.getpid(), signal.SIGTERM)
        assert (control.following, control.signal) == (signal.SIGTERM, None)
        deadline = time.monotonic() + 4
        while control.signal is None and time.monotonic() < deadline:
            time.sleep(.01)
        assert control.signal == signal.SIGTERM
    check_facts(capfd.readouterr().err, 'SIGTERM', 'rank 0', '0.5 s at most')


def test_a_rank_that_follows_ends_inside_a_step_that_does_not_return():
    program = ('import os, signal, time\nfrom edvr.training.hooks import signals, step_hook\nsignals._LAST_STEP = .2\n'
               'with signals.signals(step_hook.Control(), patience=.2):\n'
               '    os.kill(os.getpid(), signal.SIGTERM)\n    time.sleep(60)\n')
    done = subprocess.run([sys.executable, '-c', program], cwd=ROOT, timeout=50)
    assert done.returncode == 128 + signal.SIGTERM
