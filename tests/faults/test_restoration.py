"""Restoring malformed input, killed runs and full disks: reported or resumed, never a wrong frame in silence."""
import contextlib
import functools
import os
import shutil
import signal
import struct
import time
import zlib

import forked
import numpy as np
import pytest
import restore_slowly
from helpers import smooth_frames, tiny_checkpoint
from small_disk import small_disk
from test_video import make

from data_tools.media.images import read_image, write_png
from edvr.output import clip_source, infer_job

LENGTH = 8


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    return tiny_checkpoint(tmp_path_factory.mktemp('train'))


@pytest.fixture(scope='module')
def sources(tmp_path_factory):
    """{kind: path}: a folder of images and a video with sound."""
    root = tmp_path_factory.mktemp('sources')
    os.makedirs(str(root / 'clip'))
    for index, frame in enumerate(smooth_frames(LENGTH, 16, 20)):
        write_png(str(root / 'clip' / ('%03d.png' % index)), frame)
    make(root / 'a.mp4', '-f', 'lavfi', '-i', 'sine=duration=0.3', '-c:a', 'aac', '-pix_fmt', 'yuv420p', frames=LENGTH)
    return {'folder': str(root / 'clip'), 'video': str(root / 'a.mp4')}


def start(checkpoint, source, output, pause=0., limit=None):
    return forked.Program(restore_slowly.__file__, ['--checkpoint=' + checkpoint, '--input=' + source,
                                                    '--output=%s' % output, '--device=cpu', '--kernels=tf'],
                          dict(RESTORE_PAUSE=str(pause)), limit)


def content(output):
    """{name: bytes} of a folder of frames without its record, or of a video."""
    if os.path.isfile(output):
        names = {os.path.basename(output): output}
    else:
        names = {name: os.path.join(output, name) for name in os.listdir(output) if name.endswith('.png')}
    found = {}
    for name, path in names.items():
        with open(path, 'rb') as file:
            found[name] = file.read()
    return found


@pytest.fixture(scope='module')
def undisturbed(checkpoint, sources, tmp_path_factory):
    """Function of a kind: content of the output of a run from start to end."""
    root = tmp_path_factory.mktemp('undisturbed')

    @functools.lru_cache(maxsize=None)
    def of(kind):
        output = str(root / name_of(kind))
        done = start(checkpoint, sources[kind], output).finish()
        assert done is not None and done.returncode == 0, done.stderr
        return content(output)
    return of


def name_of(kind):
    return 'out' if kind == 'folder' else 'b.mp4'


def files_in(folder):
    return [os.path.join(place, name) for place, _, names in os.walk(str(folder)) for name in names]


def wait_for_frames(process, folder, count):
    """Waits until so many frames or segments are whole, or the program ends."""
    while process.poll() is None:
        if sum(path.endswith(('.png', '.mp4')) for path in files_in(folder)) >= count:
            return
        time.sleep(.01)


def judge_resumed(campaign, kind, description, checkpoint, source, output, want):
    """Starts the same command again; its result has to equal the undisturbed one and nothing else may be left."""
    done = start(checkpoint, source, output).finish()
    if done is None or done.returncode:
        campaign.judge(kind, done, description + ', resumed')
        return
    left = [path for path in files_in(os.path.dirname(str(output)))
            if not path.endswith('.restoration.json') and os.path.basename(path) not in want]
    same = content(str(output)) == want
    campaign.record(kind, 'resumed' if same and not left else 'silent', '%s; left: %s' % (description, left))


def test_killed_runs_resume(campaign, checkpoint, sources, undisturbed, tmp_path):
    for turn in range(campaign.amount(1, 40)):
        kind = ('video', 'folder')[turn % 2]
        signum = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)[turn // 2 % 4]
        folder = tmp_path / str(turn)
        folder.mkdir()
        count = int(campaign.rng.randint(1, LENGTH // 2))
        process = start(checkpoint, sources[kind], folder / name_of(kind), .1)
        wait_for_frames(process, folder, count)
        time.sleep(campaign.rng.uniform(0, .2))
        process.send_signal(signum)
        first = process.finish()
        name = 'restoration to a %s: %s' % (kind, signal.Signals(signum).name)
        if first is None or (signum != signal.SIGKILL and 'Traceback' in first.stderr):
            campaign.judge(name, first, str(count))
            continue
        judge_resumed(campaign, name, 'after %d' % count, checkpoint, sources[kind], folder / name_of(kind),
                      undisturbed(kind))


@pytest.mark.faults
def test_two_runs_on_one_output(campaign, checkpoint, sources, undisturbed, tmp_path):
    for kind in ('video', 'folder'):
        folder = tmp_path / kind
        folder.mkdir()
        process = start(checkpoint, sources[kind], folder / name_of(kind), .5)
        wait_for_frames(process, folder, 1)
        process.send_signal(signal.SIGSTOP)   # so that it is surely at work while the second one starts
        second = start(checkpoint, sources[kind], folder / name_of(kind)).finish()
        campaign.judge('restoration to a %s: two runs' % kind, second, names=['process %d on' % process.pid])
        process.send_signal(signal.SIGCONT)
        first = process.finish()
        same = first.returncode == 0 and content(str(folder / name_of(kind))) == undisturbed(kind)
        campaign.record('restoration to a %s: two runs' % kind, 'harmless' if same else 'silent')


@pytest.mark.faults
def test_full_disk(campaign, checkpoint, sources, undisturbed, tmp_path):
    for turn in range(campaign.amount(1, 10)):
        kind = ('video', 'folder')[turn % 2]
        whole = sum(len(data) for data in undisturbed(kind).values())
        kilobytes = int(max(4, whole * campaign.rng.uniform(.1, 1.) / 1024))
        name = 'restoration to a %s: disk full' % kind
        with small_disk(tmp_path / ('disk%d' % turn), kilobytes) as (disk, limit):
            first = start(checkpoint, sources[kind], os.path.join(disk, name_of(kind)), limit=limit).finish()
            if first is not None and first.returncode == 0:
                campaign.record(name, 'harmless', '%d kB' % kilobytes)
                continue
            campaign.judge(name, first, '%d kB' % kilobytes, names=[disk])
            room = tmp_path / ('room%d' % turn)
            shutil.copytree(disk, str(room))
        judge_resumed(campaign, name + ', then room', '%d kB' % kilobytes, checkpoint, sources[kind],
                      room / name_of(kind), undisturbed(kind))


def test_output_equal_to_input(campaign, sources, tmp_path):
    for source in sources.values():
        found = clip_source.find(source)
        link = str(tmp_path / ('link' + os.path.splitext(source)[1]))
        os.symlink(source, link)
        for output in (source, link, os.path.join(os.path.dirname(source), '.', os.path.basename(source))):
            before = content(source)
            campaign.attempt('restoration: output equal to input',
                             lambda output=output, found=found: infer_job.check_output(
                                 output, found, output.endswith('.mp4')),
                             lambda result: False, output, [source])
            assert content(source) == before


def malformed(data, rng, turn):
    """Damaged bytes of a file: a flipped bit, a cut, zeros, doubled bytes, or a header that lies."""
    data = bytearray(data)
    place = int(rng.randint(len(data)))
    kind = turn % 5
    if kind == 0:
        data[place] ^= 1 << rng.randint(8)
    elif kind == 1:
        del data[place:]
    elif kind == 2:
        data[place:place + 16] = bytes(len(data[place:place + 16]))
    elif kind == 3:
        data[place:place] = data[place:place + 16]
    else:
        for _ in range(8):
            data[rng.randint(min(len(data), 64))] = rng.randint(256)
    return bytes(data)


def with_size(data, width, height):
    """A PNG whose header states another size, with the checksum that fits."""
    header = b'IHDR' + struct.pack('>II', width, height) + data[24:29]
    return data[:12] + header + struct.pack('>I', zlib.crc32(header)) + data[33:]


def test_malformed_images(campaign, sources, tmp_path):
    """One frame of a clip is damaged: reading it reports the file, or gives the frame as it was."""
    folder = tmp_path / 'clip'
    shutil.copytree(sources['folder'], str(folder))
    path = str(folder / '003.png')
    with open(path, 'rb') as file:
        sound = file.read()
    frames = [read_image(str(folder / ('%03d.png' % index))) for index in range(LENGTH)]
    cases = [('bytes', malformed(sound, campaign.rng, turn)) for turn in range(campaign.amount(25, 295))]
    cases += [('declared size', with_size(sound, *size)) for size in ((60000, 60000), (20, 60000), (0, 16), (21, 16))]
    cases.append(('declared size', b''))
    for kind, data in cases:
        with open(path, 'wb') as file:
            file.write(data)

        def read():
            source, = clip_source.find(str(folder))
            return list(source.read(0))
        started = time.time()
        campaign.attempt('restoration: malformed image, ' + kind, read,
                         lambda result: np.array_equal(result, frames), repr(data[:40]), [path])
        assert time.time() - started < forked.PATIENCE


def test_malformed_videos(campaign, sources, tmp_path):
    """A damaged video is reported, or gives as many frames of its size as it is found to have.

    Pixels are not compared: H.264 has no checksum, so a flip inside a frame may change it unnoticed.
    """
    paths = [sources['video'], make(tmp_path / 'a.mkv', '-pix_fmt', 'yuv420p', frames=LENGTH),
             make(tmp_path / 'a.avi', '-c:v', 'mpeg4', frames=LENGTH)]
    for turn in range(campaign.amount(6, 100)):
        path = paths[turn // 5 % len(paths)]
        with open(path, 'rb') as file:
            data = malformed(file.read(), campaign.rng, turn)
        damaged = str(tmp_path / ('damaged' + os.path.splitext(path)[1]))
        with open(damaged, 'wb') as file:
            file.write(data)

        def read(damaged=damaged):
            source, = clip_source.find(damaged)
            with contextlib.closing(source.read(0)) as frames:
                return source, [frame.shape for frame in frames]
        campaign.attempt('restoration: malformed video', read, consistent, '%d of %s' % (turn, path), [damaged])


def consistent(result):
    source, shapes = result
    return len(shapes) == source.length and set(shapes) == {(source.video.height, source.video.width, 3)}


def test_videos_that_declare_an_enormous_size(campaign, tmp_path):
    """A raw video whose header states 60000x60000 holds no such frame."""
    path = str(tmp_path / 'a.y4m')
    with open(path, 'wb') as file:
        file.write(b'YUV4MPEG2 W60000 H60000 F25:1 Ip A1:1 C420jpeg\nFRAME\n' + bytes(5000))
    campaign.attempt('restoration: video declares 60000x60000', lambda: clip_source.find(path), lambda result: False,
                     names=[path])
