"""A long training and a long restoration keep to their memory, descriptors and threads; the slopes are reported.

--long_run=1 is an hour of training and 20,000 frames; 0.1 is a tenth of both. What is not seen for long enough is
not judged, and its slope only reported: threads start and malloc and TensorFlow take some more in the first minutes.
"""
import os
import re
import signal
import time

import forked
import numpy as np
import pytest
import restore_slowly
import tiny_training
from helpers import smooth_frames, tiny_checkpoint

from data_tools.media.images import write_png
from edvr import checkpoints

HOUR, FRAMES = 3600., 20000
SEEN = ('resident memory, MB', 'descriptors', 'threads')
WARM_UP = .25        # of the samples, which are left out
LONG_ENOUGH = 600., 60., 60.   # seconds behind the warm-up


def sample(pid):
    """(MB, descriptors, threads) of a process."""
    with open('/proc/%d/status' % pid) as file:
        text = file.read()
    return (int(re.search(r'VmRSS:\s+(\d+)', text).group(1)) / 1024., len(os.listdir('/proc/%d/fd' % pid)),
            int(re.search(r'Threads:\s+(\d+)', text).group(1)))


def watch(process, until):
    """Samples of a process, list of (seconds, MB, descriptors, threads), until `until()` or its end."""
    samples, start = [], time.monotonic()
    while process.poll() is None and not until():
        try:
            samples.append((time.monotonic() - start,) + sample(process.pid))
        except (OSError, AttributeError):   # it has just ended
            break
        time.sleep(min(1., .02 + (time.monotonic() - start) / 200))
    return samples


def judge(campaign, kind, samples, work):
    """Fits a line to each quantity behind the warm-up."""
    table = np.array(samples)
    begin = table[0, 0] + WARM_UP * (table[-1, 0] - table[0, 0])
    table = table[table[:, 0] >= begin]
    assert len(table) > 20, 'too few samples: %d' % len(table)
    span = table[-1, 0] - table[0, 0]
    campaign.record(kind, 'harmless', 'it ends well')
    for column, (name, enough) in enumerate(zip(SEEN, LONG_ENOUGH), 1):
        slack = .1 * table[0, column] if column == 1 else 2.
        slope = np.polyfit(table[:, 0], table[:, column], 1)[0]
        campaign.note('%s: %s: %.1f at first, %.1f at last, slope %+.3f per 1000 s (%s, %.0f s, %d samples)' % (
            kind, name, table[0, column], table[-1, column], 1000 * slope, work, span, len(table)))
        if span >= enough:
            campaign.record(kind, 'harmless' if slope * span <= slack else 'silent', '%s: growth by %.1f' % (
                name, slope * span))


@pytest.fixture
def fraction(request):
    return request.config.getoption('--long_run')


@pytest.mark.faults
def test_training(campaign, fraction, tmp_path):
    folder, run, start = tiny_training.make_set(tmp_path / 'set'), tmp_path / 'run', time.monotonic()
    process = forked.Program(tiny_training.__file__, tiny_training.arguments(
        folder, run, steps=10 ** 7, save_every=50, keep_last=2, log_every=10, summary_every=10))
    samples = watch(process, lambda: time.monotonic() - start > HOUR * fraction)
    process.send_signal(signal.SIGTERM)
    done = process.finish()
    assert done is not None and done.returncode == 128 + signal.SIGTERM, done and done.stderr
    judge(campaign, 'long run: training', samples, '%d steps' % checkpoints.step_of(checkpoints.latest(str(run))))


@pytest.mark.faults
def test_restoration(campaign, fraction, tmp_path):
    """Many frames of a folder, of 8 different ones."""
    count, clip, kinds = max(40, int(FRAMES * fraction)), tmp_path / 'clip', []
    clip.mkdir()
    for index, frame in enumerate(smooth_frames(8, 16, 20)):
        kinds.append(str(tmp_path / ('%d.png' % index)))
        write_png(kinds[-1], frame)
    for index in range(count):
        os.link(kinds[index % 8], str(clip / ('%06d.png' % index)))
    process = forked.Program(restore_slowly.__file__, [
        '--checkpoint=' + tiny_checkpoint(tmp_path / 'train'), '--input=%s' % clip, '--output=%s' % (tmp_path / 'out'),
        '--device=cpu', '--kernels=tf'])
    samples = watch(process, lambda: False)
    done = process.finish()
    assert done is not None and done.returncode == 0, done and done.stderr
    assert sum(name.endswith('.png') for name in os.listdir(str(tmp_path / 'out'))) == count
    judge(campaign, 'long run: restoration', samples, '%d frames' % count)
