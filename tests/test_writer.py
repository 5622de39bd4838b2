"""Frames are written completely and once, or the program gets an error."""
import errno
import os
import threading
import weakref

import imageio_ffmpeg
import numpy as np
import pytest
from facts import raises_facts

from data_tools.base.errors import UserError
from data_tools.media.images import read_image
from data_tools.media.read_ahead import read_ahead
from edvr.output.background_writer import BackgroundWriter
from edvr.output.png_folder import PngFolder
from edvr.output.video_writer import VideoWriter


def test_everything_is_written_in_order_by_one_thread():
    done = []
    with BackgroundWriter(lambda number: done.append(number), threads=1, depth=2) as writer:
        for number in range(50):
            writer.put(number)
    assert done == list(range(50))


def test_a_written_item_is_not_held():
    class Frame:
        pass
    frame, written = Frame(), threading.Event()
    freed = threading.Event()
    weakref.finalize(frame, freed.set)
    with BackgroundWriter(lambda frame: written.set(), threads=1) as writer:
        writer.put(frame)
        assert written.wait(20)
        del frame
        assert freed.wait(20)


def test_several_threads_work_at_once():
    meeting = threading.Barrier(3, timeout=20)
    with BackgroundWriter(lambda number: meeting.wait(), threads=3) as writer:   # with fewer the barrier breaks
        for number in range(3):
            writer.put(number)


def test_the_queue_is_bounded():
    gate, entered = threading.Event(), []
    with BackgroundWriter(lambda number: gate.wait(20), threads=1, depth=2) as writer:
        def fill():
            for number in range(10):
                writer.put(number)
                entered.append(number)
        thread = threading.Thread(target=fill)
        thread.start()
        thread.join(0.3)
        assert len(entered) <= 3   # one in the thread, two waiting
        gate.set()
        thread.join(20)
    assert len(entered) == 10


def test_an_error_in_a_thread_reaches_the_program():
    def fail(number):
        if number == 3:
            raise UserError('cannot write frame 3')
    with pytest.raises(UserError, match='cannot write frame 3'), BackgroundWriter(fail, threads=2, depth=2) as writer:
        for number in range(10000):
            writer.put(number)
    with pytest.raises(UserError, match='cannot write frame 3'), BackgroundWriter(fail) as writer:
        writer.put(3)   # the last one: nothing is put afterwards


def test_what_waits_is_dropped_when_the_program_fails():
    gate, done = threading.Event(), []

    def slow(number):
        gate.wait(20)
        done.append(number)
    with pytest.raises(KeyboardInterrupt), BackgroundWriter(slow, threads=1, depth=8) as writer:
        for number in range(6):
            writer.put(number)
        threading.Timer(0.2, gate.set).start()
        raise KeyboardInterrupt
    assert done in ([], [0])


SETTINGS = dict(network='a', frames=4)
NAMES = ('f0', 'f1', 'f2', 'f3')


def frame(value):
    return np.full((4, 6, 3), value, np.float32)


def test_a_folder_continues_with_the_missing_frames(tmp_path):
    folder = PngFolder(str(tmp_path / 'out'), NAMES, SETTINGS)
    assert folder.missing == [(0, len(NAMES))]
    for index in (0, 1, 3):
        folder.write(index, frame(index / 4))
    folder.write(0, frame(1.7))
    np.testing.assert_array_equal(read_image(str(tmp_path / 'out' / 'f0.png')), 255)
    np.testing.assert_array_equal(read_image(str(tmp_path / 'out' / 'f1.png')), 64)   # 63.75 rounds
    (tmp_path / 'out' / 'f2.png.123.partial').write_bytes(b'cut')
    assert PngFolder(str(tmp_path / 'out'), NAMES, SETTINGS).missing == [(2, 3)]
    assert sorted(os.listdir(str(tmp_path / 'out'))) == ['.restoration.json', 'f0.png', 'f1.png', 'f3.png']
    assert PngFolder(str(tmp_path / 'out'), NAMES, SETTINGS, overwrite=True).missing == [(0, len(NAMES))]
    assert os.listdir(str(tmp_path / 'out')) == ['.restoration.json']


def test_frames_of_other_settings_or_origin_are_not_mixed(tmp_path):
    PngFolder(str(tmp_path), NAMES, SETTINGS).write(0, frame(0))
    with raises_facts(UserError, 'restored differently', 'network', 'a', 'b'):
        PngFolder(str(tmp_path), NAMES, dict(SETTINGS, network='b'))
    (tmp_path / '.restoration.json').unlink()
    with raises_facts(UserError, 'f0.png', 'exists already', 'not from a restoration'):
        PngFolder(str(tmp_path), NAMES, SETTINGS)


@pytest.mark.parametrize('key, value', [('resize', [8, 12]), ('first', 500), ('ffmpeg_options', '-preset fast')])
def test_an_option_that_is_left_out_is_noticed(tmp_path, key, value):
    """Settings that are off are not written: the record of earlier work has more keys."""
    folder = PngFolder(str(tmp_path / 'out'), NAMES, dict(SETTINGS, **{key: value}))
    folder.write(0, frame(0))
    with raises_facts(UserError, 'restored differently', key, value, 'now None'):
        PngFolder(str(tmp_path / 'out'), NAMES, SETTINGS)
    with VideoWriter(str(tmp_path / 'a.mp4'), 25, settings=dict(SETTINGS, **{key: value}), length=2,
                     segment_frames=1) as writer, pytest.raises(UserError, match='restored differently.*' + key):
        for _ in range(2):
            writer.write(np.zeros([16, 16, 3], np.uint8))
        VideoWriter(str(tmp_path / 'a.mp4'), 25, settings=SETTINGS, length=2, segment_frames=1).__enter__()


def test_another_range_of_frames_needs_the_same_settings(tmp_path):
    first, second = dict(SETTINGS, frames=2), dict(SETTINGS, frames=2, first=2, shots=[[0, 1], [1, 2]])
    PngFolder(str(tmp_path), NAMES[:2], first).write(0, frame(0))
    for changed in (dict(network='b'), dict(resize=[8, 12])):
        with raises_facts(UserError, tmp_path, 'other frames', 'restored differently', *changed):
            PngFolder(str(tmp_path), NAMES[2:], dict(second, **changed))
        assert PngFolder(str(tmp_path), NAMES[:2], first).missing == [(1, 2)]   # the refused run changed nothing
    assert PngFolder(str(tmp_path), NAMES[2:], second).missing == [(0, 2)]


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match=r'cannot write .*file/out'):
        PngFolder(str(tmp_path / 'file' / 'out'), NAMES, SETTINGS)


def test_a_full_disk_names_the_frame_and_leaves_nothing(tmp_path, monkeypatch):
    folder = PngFolder(str(tmp_path), NAMES, SETTINGS)

    def full(path, mode):
        open(path, mode).close()   # the name is made, the bytes find no room
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    monkeypatch.setattr('data_tools.base.files.open_file', full)
    with pytest.raises(UserError, match=r'f2\.png: the disk is full'), BackgroundWriter(folder.write) as writer:
        writer.put(2, frame(0))
    assert os.listdir(str(tmp_path)) == ['.restoration.json']


def test_a_video_that_is_not_finished_leaves_nothing(tmp_path):
    path = tmp_path / 'a.mp4'
    path.write_bytes(b'older')
    with pytest.raises(KeyboardInterrupt), VideoWriter(str(path), 25) as writer:
        writer.write(np.zeros((16, 16, 3), np.uint8))
        raise KeyboardInterrupt
    assert path.read_bytes() == b'older' and os.listdir(str(tmp_path)) == ['a.mp4']


def test_what_ffmpeg_says_is_passed_on(tmp_path, monkeypatch):
    program, folder = tmp_path / 'ffmpeg', tmp_path / 'out'
    program.write_text('#!/bin/sh\ncase "$*" in *-version*) exec "%s" "$@";; esac\n'
                       'head -c 1000 > /dev/null; echo "No space left on device" >&2; exit 1\n'
                       % imageio_ffmpeg.get_ffmpeg_exe())
    program.chmod(0o755)
    monkeypatch.setenv('IMAGEIO_FFMPEG_EXE', str(program))
    with raises_facts(UserError, '000000.mp4', 'code 1', 'No space left on device'), \
            VideoWriter(str(folder / 'a.mp4'), 25) as writer:
        for _ in range(1000):
            writer.write(np.zeros((64, 64, 3), np.uint8))
    assert os.listdir(str(folder)) == []


def test_names_and_codecs_that_do_not_go_together():
    with raises_facts(UserError, 'a.avi', '.mkv', '.mov', '.mp4', '.webm'):
        VideoWriter('a.avi', 25)
    with raises_facts(UserError, 'webm', '--codec=libvpx-vp9', 'libx264'):
        VideoWriter('a.webm', 25, codec='libx264')


def test_read_ahead_keeps_order_is_bounded_and_passes_errors():
    taken = []

    def items():
        for number in range(20):
            taken.append(number)
            yield number
        raise UserError('frame 20 is cut')
    stream = read_ahead(items(), depth=3)
    assert next(stream) == 0
    threading.Event().wait(0.2)
    assert len(taken) <= 6
    with pytest.raises(UserError, match='frame 20 is cut'):
        assert [next(stream) for _ in range(19)] == list(range(1, 20)) and next(stream)


def test_read_ahead_ends_its_source_when_it_is_left():
    closed = threading.Event()

    def items():
        try:
            while True:
                yield 0
        finally:
            closed.set()
    stream = read_ahead(items(), depth=2)
    next(stream)
    stream.close()
    assert closed.is_set()
