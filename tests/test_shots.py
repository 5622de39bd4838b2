"""Shots: detected in videos and folders, or read from a file; each is restored separately."""
import itertools
import json

import numpy as np
import pytest
from facts import raises_facts
from helpers import smooth_frames, tiny_checkpoint
from packed import write_video
from test_infer import write_clip

from data_tools.base.errors import UserError
from data_tools.media import shots
from data_tools.media.clips import find_clips
from data_tools.media.shots import NO_SPLIT, ShotRule
from edvr.output import clip_source
from edvr.restore.restorer import Restorer

LENGTHS = (7, 6, 9)
PAIRS = ((0, 7), (7, 13), (13, 22))


@pytest.fixture(scope='module')
def scenes():
    """uint8 [22, 28, 36, 3]: three shots."""
    return np.concatenate([smooth_frames(length, 28, 36, seed) for seed, length in enumerate(LENGTHS)])


def test_cuts_stand_out():
    def cut(*places, values=None):
        scores = [0.02] * 30
        for place in places:
            scores[place] = 0.5
        return shots.cut(values or scores, 0.1, 5)

    assert cut() == ((0, 30),)
    assert cut(10, 20) == ((0, 10), (10, 20), (20, 30))
    assert cut(10, 11) == ((0, 10), (10, 30))                  # a flash of one frame
    assert cut(3, 10, 27) == ((0, 10), (10, 30))               # too near to the ends
    assert cut(values=[0.3] * 30) == ((0, 30),)                # fast motion
    assert cut(values=[0.05] * 14 + [0.11] + [0.0] * 15) == ((0, 14), (14, 30))
    assert cut(values=[0.05] * 14 + [0.09] + [0.0] * 15) == ((0, 30),)   # below the threshold


def test_shots_of_videos_and_folders(tmp_path, scenes, capsys):
    write_video(tmp_path / 'x.mp4', scenes, '-pix_fmt', 'yuv420p', '-crf', '20')
    found = find_clips(str(tmp_path), need_gt=False, shots=ShotRule())
    assert [(clip.name, clip.whole, clip.first, clip.length) for clip in found] == [
        ('x_shot000', 'x', 0, 7), ('x_shot001', 'x', 7, 6), ('x_shot002', 'x', 13, 9)]
    assert 'x: 3 shots: 0-6, 7-12, 13-21' in capsys.readouterr().out
    assert len(list(found[1].lq.read())) == 6 and found[1].lq.name(0) == '00000007'
    whole, = find_clips(str(tmp_path), need_gt=False, shots=ShotRule(), split=False)
    assert whole.shots == PAIRS and whole.length == 22
    assert [clip.name for clip in find_clips(str(tmp_path), need_gt=False, shots=NO_SPLIT)] == ['x']
    write_clip(tmp_path / 'images', 22)
    images = find_clips(str(tmp_path / 'images'), need_gt=False, shots=ShotRule())
    assert [clip.name for clip in images] == ['images']   # folders are split when asked only
    assert len(find_clips(str(tmp_path / 'images'), need_gt=False, shots=ShotRule(split=True))) == 1


def test_a_folder_that_is_split(tmp_path, scenes):
    from data_tools.media.images import write_png
    (tmp_path / 'a').mkdir()
    for index, frame in enumerate(scenes):
        write_png(str(tmp_path / 'a' / ('%03d.png' % index)), frame)
    found = find_clips(str(tmp_path / 'a'), need_gt=False, shots=ShotRule(split=True))
    assert [(clip.first, clip.first + clip.length) for clip in found] == list(PAIRS)
    np.testing.assert_array_equal(list(found[2].lq.read()), scenes[13:])


def test_given_shots(tmp_path, scenes):
    write_video(tmp_path / 'x.mkv', scenes)
    path = tmp_path / 'shots.json'
    path.write_text(json.dumps({'x': [[2, 9], [9, 20]], 'another': [[0, 3]]}))
    rule = ShotRule(given=shots.read_shots(str(path)))
    found = find_clips(str(tmp_path / 'x.mkv'), need_gt=False, shots=rule)
    assert [(clip.name, clip.first, clip.length) for clip in found] == [('x_shot000', 2, 7), ('x_shot001', 9, 11)]
    source, = clip_source.find(str(tmp_path / 'x.mkv'), shots=rule)
    assert source.shots == ((0, 2), (2, 9), (9, 20), (20, 22))   # every frame is restored
    for pairs in ([[0, 23]], [[5, 5]], [[0, 9], [8, 12]], [[-1, 4]]):
        rule = ShotRule(given={'x': pairs})
        with raises_facts(UserError, 'clip x', '22 frames', 'shots', 'inside'):
            find_clips(str(tmp_path / 'x.mkv'), need_gt=False, shots=rule)
    for value in ([], {'x': []}, {'x': [[1]]}, {'x': [[0, 1.5]]}, {'x': [[0, True]]}):
        path.write_text(json.dumps(value))
        with raises_facts(UserError, 'shots of clips', '{"NAME": [[FIRST, END]'):
            shots.read_shots(str(path))


@pytest.mark.parametrize('first', [0, 3, 8, 12, 13, 14, 21, 22])
def test_each_shot_is_restored_by_itself(tmp_path_factory, scenes, network, first):
    source = clip_source.Source('x', 22, (), lambda start: iter(scenes[start:]), None, 'x', PAIRS)
    expected = [sr for begin, end in PAIRS for sr in network.restore_clip(iter(scenes[begin:end]))]
    restored = list(clip_source.restored_frames(network, source, first))
    assert len(restored) == 22 - first
    for got, want in zip(restored, expected[first:]):
        np.testing.assert_array_equal(got, want)


def test_a_source_without_shots_is_one(scenes, network):
    source = clip_source.Source('x', 22, (), lambda start: iter(scenes[start:]), None, 'x')
    whole = list(network.restore_clip(iter(scenes)))
    np.testing.assert_array_equal(list(clip_source.restored_frames(network, source)), whole)
    parted = source._replace(shots=PAIRS)
    differ = [not np.array_equal(a, b) for a, b in zip(clip_source.restored_frames(network, parted), whole)]
    near = {frame for _, cut in PAIRS[:-1] for frame in (cut - 1, cut)}   # T = 3: these saw the other side
    assert {index for index, different in enumerate(differ) if different} == near


@pytest.fixture(scope='module')
def network(tmp_path_factory):
    with Restorer(tiny_checkpoint(tmp_path_factory.mktemp('train')), fill='replicate') as restorer:
        yield restorer


def test_only_what_is_needed_is_read(scenes, network):
    read = []

    def reading(start):
        for index in range(start, 22):
            read.append(index)
            yield scenes[index]
    source = clip_source.Source('x', 22, (), reading, None, 'x', PAIRS)
    next(itertools.islice(clip_source.restored_frames(network, source, 9), 1))
    assert read[0] == 7   # nothing before the cut
