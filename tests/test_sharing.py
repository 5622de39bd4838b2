"""Several devices restore the bytes of one device: the split of the frames, equal output, failures of a process."""
import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from conftest import FAULTS, ROOT
from facts import check_facts, raises_facts
from helpers import smooth_frames
from npu_fixtures import no_job  # noqa: F401 fixture
from test_video import make

from data_tools.base.errors import UserError
from data_tools.media.images import write_png
from edvr.config.host import HostConfig
from edvr.config.infer import InferConfig
from edvr.config.restoration import EvaluateConfig, RestoreConfig
from edvr.devices import DEVICES
from edvr.evaluation import clip_set
from edvr.launch import npu_cards, relaunch
from edvr.launch.plan import Plan
from edvr.output import clip_source, infer_job, segments, video_writer
from edvr.restore.network_info import NetworkInfo
from edvr.restore.sliding_window import windows
from edvr.sharing import workers
from edvr.sharing.splitting import FrameRange, cut, missing, split

SLOWLY = os.path.join(FAULTS, 'restore_slowly.py')


# the split of the frames

def test_missing_frames():
    assert missing([]) == missing([True, True]) == []
    assert missing([False, False]) == [(0, 2)]
    assert missing([True, False, False, True, False]) == [(1, 3), (4, 5)]


def test_one_rank_gets_everything_in_order():
    ranges = [FrameRange(0, 3, 5), FrameRange(0, 7, 9), FrameRange(2, 0, 1)]
    assert split(ranges, 1) == [ranges]
    assert split([], 4) == []


def test_clips_and_long_clips():
    assert split([FrameRange(0, 0, 100)], 4) == [[FrameRange(0, first, first + 25)] for first in (0, 25, 50, 75)]
    clips = [FrameRange(0, 0, 10), FrameRange(1, 0, 10)]
    assert split(clips, 2, least=5) == [clips[:1], clips[1:]]
    clips = [FrameRange(0, 0, 11), FrameRange(1, 0, 9)]
    assert split(clips, 2, least=3) == [clips[:1], clips[1:]]   # a cut near an end of a clip is no cut


def test_shares_are_of_equal_cost_not_length():
    small, large = FrameRange(0, 0, 80), FrameRange(1, 0, 20)
    assert split([small, large], 2, costs=[1, 4]) == [[small], [large]]


def test_cuts_at_segments():
    shares = split([FrameRange(0, 0, 100)], 3, unit=40)
    assert shares == [[FrameRange(0, *edges)] for edges in ((0, 40), (40, 80), (80, 100))]
    assert split([FrameRange(0, 240, 300)], 2, unit=240) == [[FrameRange(0, 240, 300)]]


@pytest.mark.parametrize('lengths, most, expected', [
    ([3, 1], 0, [(0, 0, 3), (1, 0, 1)]),
    ([7, 2], 3, [(0, 0, 3), (0, 3, 6), (0, 6, 7), (1, 0, 2)]),
    ([6], 3, [(0, 0, 3), (0, 3, 6)]),
    ([], 3, []),
])
def test_ranges_of_fixed_length(lengths, most, expected):
    assert [tuple(item) for item in cut(lengths, most)] == expected


def test_no_more_ranks_than_work():
    assert len(split([FrameRange(0, 0, 7)], 8, least=5)) == 1
    assert len(split([FrameRange(0, 0, 3)], 8)) == 3


@pytest.mark.parametrize('seed', range(40))
def test_every_frame_once_in_order_and_no_rank_overloaded(seed):
    rng = np.random.RandomState(seed)
    ranges = [FrameRange(clip, first, first + rng.randint(1, 90))
                 for clip, first in enumerate(rng.randint(0, 5, rng.randint(1, 9)) * 10)]
    ranks, unit, least = rng.randint(1, 9), rng.choice([1, 1, 10]), rng.randint(1, 8)
    shares = split(ranges, ranks, unit=unit, least=least)

    def frames(ranges):
        return [(clip, index) for clip, first, end in ranges for index in range(first, end)]
    assert [frame for share in shares for frame in frames(share)] == frames(ranges)
    assert 1 <= len(shares) <= ranks and all(shares)
    assert all(first % unit == 0 or (clip, first) in [item[:2] for item in ranges]
               for share in shares for clip, first, _ in share)
    fair = len(frames(ranges)) / ranks
    assert max(len(frames(share)) for share in shares) <= max(fair, least) + 2 * max(unit, least)


class ShowsWindows:
    """Replaces a Restorer; it restores a window to the numbers of its frames."""

    def __init__(self, num_frames, fill):
        self.config = type('Network', (), dict(num_frames=num_frames))
        self._fill = fill

    def restore_clip(self, frames, length=None, start=0):
        for _, window, held in windows(frames, self.config.num_frames, self._fill, length, start):
            yield [int(held[index][0, 0, 0]) for index in window]


@pytest.mark.parametrize('fill', ['reflection_circle', 'replicate', 'circle'])
@pytest.mark.parametrize('shots', [(), ((0, 4), (4, 13), (13, 20))])
def test_windows_at_the_borders_of_ranges(fill, shots):
    frames = [np.full([1, 1, 3], index, np.uint8) for index in range(20)]
    source = clip_source.Source('x', 20, (), lambda start: iter(frames[start:]), None, 'x', shots)
    restorer = ShowsWindows(5, fill)
    whole = list(clip_source.restored_frames(restorer, source))
    for first in range(20):
        for end in range(first + 1, 21):
            found = []
            clip_source.put_frames(lambda index, window, found=found: found.append((index, window)), restorer, source,
                                     first, end, type('Bar', (), dict(update=lambda self: None))())
            assert found == list(zip(range(first, end), whole[first:end]))


# which devices

def refused(device, host):
    with pytest.raises(UserError) as caught:
        DEVICES[device].plan_workers(host)
    return str(caught.value)


def test_processes_on_a_cpu():
    for count in (0, 1):
        assert DEVICES['cpu'].plan_workers(HostConfig(num_devices=count)) == ({}, {}, [])
    found = DEVICES['cpu'].plan_workers(HostConfig(num_devices=3))
    assert found.environments == {0: {}, 1: {}, 2: {}}
    assert found.notes[0].startswith('3 processes on this CPU, which share its ')


def test_a_process_for_each_gpu(monkeypatch):
    monkeypatch.setattr(tf.config.experimental, 'list_physical_devices', lambda kind: ['one', 'two', 'three'])
    monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
    found = DEVICES['gpu'].plan_workers(HostConfig())
    assert [found.environments[rank]['CUDA_VISIBLE_DEVICES'] for rank in range(3)] == ['0', '1', '2']
    assert found.notes == ['3 GPUs: 0, 1, 2']
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '4,MIG-7,2')
    found = DEVICES['gpu'].plan_workers(HostConfig(num_devices=2))
    assert [found.environments[rank]['CUDA_VISIBLE_DEVICES'] for rank in range(2)] == ['4', 'MIG-7']
    assert refused('gpu', HostConfig(num_devices=8)) == (
        '--num_devices=8, but TensorFlow sees 3 GPUs on this host (CUDA_VISIBLE_DEVICES can hide some); give '
        '--num_devices=3, or 0 for all')
    assert DEVICES['gpu'].plan_workers(HostConfig(num_devices=1)).environments == {}


def test_a_process_for_each_npu(no_job, tmp_path, monkeypatch):  # noqa: F811
    for card in (0, 1, 5):
        (tmp_path / ('davinci%d' % card)).touch()
    monkeypatch.setattr(npu_cards, 'NPU_FILES', str(tmp_path / 'davinci[0-9]*'))
    found = DEVICES['npu'].plan_workers(HostConfig())
    assert [(e['DEVICE_ID'], e['RANK_ID'], e['RANK_SIZE']) for e in found.environments.values()] == [
        ('0', '0', '1'), ('1', '0', '1'), ('5', '0', '1')]
    assert found.notes == ['3 NPUs: 0, 1, 5']
    assert DEVICES['npu'].plan_workers(HostConfig(device_ids=(5,))).changes['DEVICE_ID'] == '5'
    assert refused('npu', HostConfig(num_devices=8)) == (
        '--num_devices=8, but this host has 3 NPUs (0, 1, 5); give --num_devices=3, or 0 for all')
    monkeypatch.setenv('DEVICE_ID', '1')   # the environment names one, unless several are asked for
    named = DEVICES['npu'].plan_workers(HostConfig())
    assert named.environments == {} and named.changes['RANK_SIZE'] == '1' and 'DEVICE_ID' not in named.changes
    assert len(DEVICES['npu'].plan_workers(HostConfig(num_devices=2)).environments) == 2


def test_options_for_one_device_only():
    with raises_facts(UserError, '--tile=auto', 'side of a tile', '--tile=256'):
        workers.plan_workers(RestoreConfig(tile='auto'), HostConfig(num_devices=2))
    with raises_facts(UserError, '--num_devices=2', '--watch', 'one device', 'leave one of the two'):
        workers.take_one_device('cpu', HostConfig(num_devices=2), '--watch')


# the same bytes

@pytest.fixture(scope='module')
def clips(tmp_path_factory):
    """A data set of clips of 12 and 3 frames: the first is cut for two processes."""
    root = tmp_path_factory.mktemp('clips')
    for name, length in (('000', 12), ('001', 3)):
        for kind, factor in (('blur4', 1), ('truth', 4)):
            (root / kind / name).mkdir(parents=True)
            for index, frame in enumerate(smooth_frames(length, 12 * factor, 16 * factor, seed=length)):
                write_png(str(root / kind / name / ('%03d.png' % index)), frame)
    return str(root)


def infer(restorer, checkpoint, config):
    job = infer_job.prepare(restorer, RestoreConfig(checkpoint=checkpoint), config)
    return infer_job.run(job, workers.ThisProcess(restorer))


def contents(folder):
    """{path of a PNG file: its bytes}."""
    return {os.path.relpath(os.path.join(root, name), str(folder)): open(os.path.join(root, name), 'rb').read()
            for root, _, names in os.walk(str(folder)) for name in names if name.endswith('.png')}


def start(*arguments, **environment):
    return subprocess.Popen([sys.executable, SLOWLY, '--device=cpu'] + ['%s=%s' % item for item in arguments], cwd=ROOT,
                            env=dict(os.environ, **environment), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            universal_newlines=True)


def children(pid):
    """The child processes of a process: {pid: command line}."""
    found = {}
    for name in filter(str.isdigit, os.listdir('/proc')):
        with contextlib.suppress(OSError, IndexError), open('/proc/%s/stat' % name) as file:
            if int(file.read().rsplit(')', 1)[1].split()[1]) == pid:
                with open('/proc/%s/cmdline' % name) as command:
                    found[int(name)] = command.read()
    return found


def test_a_killed_process_ends_all_and_the_same_command_continues(restorer, checkpoint, clips, tmp_path):
    infer(restorer, checkpoint, InferConfig(input=clips, output=str(tmp_path / 'one')))
    output = tmp_path / 'two'
    arguments = (('--checkpoint', checkpoint), ('--input', clips), ('--output', output), ('--num_devices', 2))
    first = start(*arguments, RESTORE_PAUSE='.5', TMPDIR=str(tmp_path))   # where the logs of a failed run stay
    try:
        deadline = time.monotonic() + 120
        while len(contents(output)) < 2 and time.monotonic() < deadline:
            time.sleep(.1)
        with raises_facts(UserError, 'another run', 'process %d' % first.pid):
            infer(restorer, checkpoint, InferConfig(input=clips, output=str(output)))
        os.kill(max(pid for pid, command in children(first.pid).items() if 'restore_slowly' in command),
                signal.SIGKILL)
        out, err = first.communicate(timeout=60)
    finally:
        first.kill()
    assert first.returncode == 128 + signal.SIGKILL and 'was killed by SIGKILL' in err
    assert '2 processes on this CPU' in out and 'restoring: ' in err and not children(first.pid)
    before = contents(output)
    assert 2 <= len(before) < 15
    second = start(*arguments, ('--part', '1/1'))
    out, err = second.communicate(timeout=200)
    assert second.returncode == 0, out + err
    assert 'part 1 of 1: 2 of 2 clips' in out and '%d frames exist already' % len(before) in out
    assert 'restored %d frames with %s' % (15 - len(before), checkpoint) in out
    assert contents(output) == contents(tmp_path / 'one')


def test_a_video_by_two_processes_has_the_same_bytes(restorer, checkpoint, tmp_path, monkeypatch):
    path = make(tmp_path / 'a.mkv', '-f', 'lavfi', '-i', 'sine=duration=0.3', '-c:a', 'aac', '-pix_fmt', 'yuv420p',
                frames=7)
    writer = video_writer.VideoWriter.__init__
    monkeypatch.setattr(writer, '__defaults__', tuple(2 if value == segments.FRAMES else value
                                                      for value in writer.__defaults__))
    infer(restorer, checkpoint, InferConfig(input=path, output=str(tmp_path / 'one.mp4')))
    process = start(('--checkpoint', os.path.dirname(checkpoint)), ('--input', path),
                    ('--output', tmp_path / 'two.mp4'),
                    ('--num_devices', 2))
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, out + err
    assert (tmp_path / 'two.mp4').read_bytes() == (tmp_path / 'one.mp4').read_bytes()
    assert sorted(os.listdir(str(tmp_path))) == ['a.mkv', 'one.mp4', 'two.mp4']


def without_times(value):
    """JSON of an evaluation without what depends on the clock."""
    if isinstance(value, dict):
        return {key: without_times(item) for key, item in value.items() if key not in ('ms', 'ms_per_frame')}
    return [without_times(item) for item in value] if isinstance(value, list) else value


def pictures(folder):
    """{tag: bytes} of the pictures for TensorBoard."""
    events = [event for name in os.listdir(str(folder)) for event in tf.train.summary_iterator(str(folder / name))]
    return {value.tag: value.image.encoded_image_string for event in events for value in event.summary.value
            if value.HasField('image')}


def test_an_evaluation_by_two_processes_has_the_same_numbers(restorer, checkpoint, clips, tmp_path, run_program):
    folders = [tmp_path / 'one', tmp_path / 'two']
    configs = [EvaluateConfig(data_dir=clips, json=str(folder / 'numbers.json'), comparison_frames=2,
                              comparison_dir=str(folder / 'pictures'), summary_dir=str(folder / 'events'))
               for folder in folders]
    for config in configs:
        clip_set.make_ready(config)
    clip_set.evaluate_and_write(workers.ThisProcess(restorer), clip_set.load(configs[0], 4),
                                RestoreConfig(checkpoint=checkpoint), configs[0])
    done = run_program('edvr.evaluate', '--checkpoint=' + checkpoint, '--num_devices=2', '--device=cpu',
                       *['--%s=%s' % (name, getattr(configs[1], name)) for name in (
                           'data_dir', 'json', 'comparison_dir', 'comparison_frames', 'summary_dir')])
    assert done.returncode == 0, done.stderr
    one, two = (json.loads((folder / 'numbers.json').read_text()) for folder in folders)
    assert without_times(one) == without_times(two) and len(one['clips'][0]['frames']) == 12
    assert contents(folders[0]) == contents(folders[1]) and len(contents(folders[0])) == 4
    assert pictures(folders[0] / 'events') == pictures(folders[1] / 'events')
    lines = done.stdout.splitlines()
    for clip in one['clips']:
        assert 'Video %s PSNR = %.4f, SSIM = %.6f' % (clip['name'], clip['edvr_psnr'], clip['edvr_ssim']) in lines


def test_where_the_operator_of_ascend_runs_is_printed_once_and_workers_get_the_options(checkpoint, monkeypatch, capsys):
    commands = []
    monkeypatch.setattr(relaunch, 'run_together', lambda command, *args, **kwargs: commands.append(command) or 3)
    monkeypatch.setattr(sys, 'argv', ['infer', '--npu_dcn=whole', '--soc_version=Ascend310P3'])
    config = RestoreConfig(checkpoint=checkpoint, device='npu', npu_dcn='whole', soc_version='Ascend310P3')
    found = NetworkInfo.at(checkpoint)
    with pytest.raises(SystemExit), workers.open_workers(Plan({0: {}, 1: {}}, {}, []), config, found) as opened:
        list(opened.do(len, [[1], [2]], type('Bar', (), dict(n=0))()))
    output = capsys.readouterr().out
    assert output.count('deformable convolutions on') == 1
    check_facts(output, 'Ascend 310P', 'AI CPU', '--npu_dcn=whole')
    assert {'--npu_dcn=whole', '--soc_version=Ascend310P3', '--device=npu'} < set(commands[0])
    for others in (config.replace(kernels='tf'), RestoreConfig(checkpoint=checkpoint)):
        workers.print_placement(others, found)
    assert capsys.readouterr().out == ''


def test_facts_of_a_network_without_loading_it(restorer, checkpoint):
    assert NetworkInfo.at(os.path.dirname(checkpoint)) == (restorer.path, restorer.config, restorer.step, True)
