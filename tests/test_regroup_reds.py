"""Regrouping: all 270 clips are in their places in every mode, also after interruptions."""
import json
import os
import shutil

import numpy as np
import pytest
from facts import raises_facts

from data_tools.base.errors import UserError
from data_tools.media.clips import REDS4, find_clips, parse_names
from data_tools.media.images import write_png
from data_tools.reds import config as reds_config
from data_tools.reds import regroup as regrouping

ALL = ['%03d' % i for i in range(270)]


@pytest.fixture(scope='module')
def template(tmp_path_factory):
    """REDS as unpacked, with one tiny frame in each clip; its pixels identify the clip."""
    root = tmp_path_factory.mktemp('reds')
    for part, count in (('train', 240), ('val', 30)):
        for folder, size in (('%s_sharp' % part, 4), (os.path.join('%s_sharp_bicubic' % part, 'X4'), 1)):
            for i in range(count):
                path = root / part / folder / ('%03d' % i)
                path.mkdir(parents=True)
                pixel = np.array([i, part == 'val', size], np.uint8)
                (path / '00000000.png').write_bytes(png(np.broadcast_to(pixel, (size, size, 3))))
    return root


def png(image):
    import io

    from PIL import Image
    data = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(data, 'PNG')
    return data.getvalue()


@pytest.fixture
def root(template, tmp_path):
    shutil.copytree(str(template), str(tmp_path / 'reds'), copy_function=os.link)
    return tmp_path / 'reds'


def check(folder, template):
    clips = find_clips(str(folder))
    assert [clip.name for clip in clips] == ALL
    for clip in (clips[0], clips[239], clips[240], clips[269]):
        number = int(clip.name)
        part, i = ('train', number) if number < 240 else ('val', number - 240)
        with open(clip.gt.paths[0], 'rb') as file:
            assert file.read() == (template / part / (part + '_sharp') / ('%03d' % i) / '00000000.png').read_bytes()
        with open(clip.lq.paths[0], 'rb') as file:
            assert file.read() == (template / part / (part + '_sharp_bicubic') / 'X4' / ('%03d' % i) / '00000000.png'
                                   ).read_bytes()


@pytest.mark.parametrize('mode', reds_config.MODES)
def test_whole_set_twice(root, template, mode):
    for _ in range(2):
        train, held_out = regrouping.regroup(str(root), str(root), mode, partial=True)
        check(root, template)
        assert tuple(held_out) == REDS4 and train == [name for name in ALL if name not in REDS4] and len(train) == 266
    assert json.loads((root / 'sets' / 'val.json').read_text()) == list(REDS4)
    assert parse_names('@%s' % (root / 'sets' / 'train.json')) == train
    assert (root / 'train' / 'train_sharp' / '007').exists() == (mode != 'move')


def test_modes_follow_each_other_and_links_are_relative(root, template):
    regrouping.regroup(str(root), str(root), 'link', partial=True)
    moved = root.parent / 'elsewhere'
    os.rename(str(root), str(moved))
    check(moved, template)
    regrouping.regroup(str(moved), str(moved), 'move', partial=True)
    assert not (moved / 'images' / 'truth' / '000').is_symlink()
    check(moved, template)


@pytest.mark.parametrize('mode', reds_config.MODES)
def test_stopped_anywhere(root, template, mode, monkeypatch):
    bring, calls = regrouping.bring, []

    def stopping(step, mode):
        calls.append(step)
        if len(calls) in (1, 50, 400):
            if mode == 'copy':   # half a copy
                os.makedirs(step.target + '.partial')
            raise KeyboardInterrupt
        bring(step, mode)
    monkeypatch.setattr(regrouping, 'bring', stopping)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            regrouping.regroup(str(root), str(root), mode, partial=True)
        assert not (root / 'sets').exists()
    regrouping.regroup(str(root), str(root), mode, partial=True)
    check(root, template)


def test_move_across_disks(root, template, monkeypatch):
    class Other:
        st_dev = -1
    real = os.stat
    monkeypatch.setattr(regrouping.os, 'stat', lambda path, **kw: Other if str(path).endswith('truth') else
                        real(path, **kw))
    target = str(root / 'images' / 'truth' / '240')
    step = regrouping.Step('240', str(root / 'val' / 'val_sharp' / '000'), target)
    regrouping.bring(step, 'move')
    assert os.listdir(target) == ['00000000.png'] and not os.path.exists(step.source)


def test_official_split_and_blurred_lq(root):
    os.rename(str(root / 'train' / 'train_sharp_bicubic'), str(root / 'train' / 'train_blur_bicubic'))
    os.rename(str(root / 'val' / 'val_sharp_bicubic'), str(root / 'val' / 'val_blur_bicubic'))
    train, held_out = regrouping.regroup(str(root), str(root / 'out'), lq='blur_bicubic', split='official',
                                           partial=True)
    assert train == ALL[:240] and held_out == ALL[240:]


def test_deblurring_set_has_lq_of_the_same_size(root):
    for part in ('train', 'val'):
        shutil.copytree(str(root / part / (part + '_sharp')), str(root / part / (part + '_blur')))
    train, _ = regrouping.regroup(str(root), str(root), lq='blur', partial=True)
    assert len(train) == 266 and find_clips(str(root), 1)[269].lq.paths[0].endswith('images/blur1/269/00000000.png')


def test_missing_parts_are_named(root, tmp_path):
    with raises_facts(UserError, 'clip 000', '1 frames', 100):
        regrouping.regroup(str(root), str(tmp_path / 'a'))
    shutil.rmtree(str(root / 'val' / 'val_sharp' / '029'))
    with raises_facts(UserError, '1 of 540', 'images/truth/269', '--partial'):
        regrouping.regroup(str(root), str(tmp_path / 'b'))
    with raises_facts(UserError, 'clip 269', 'LQ frames', 'blur4/269', 'no GT'):
        regrouping.regroup(str(root), str(tmp_path / 'b'), partial=True)
    assert not (tmp_path / 'b' / 'sets').exists()
    (tmp_path / 'empty').mkdir()
    with pytest.raises(UserError, match='does not contain REDS'):
        regrouping.regroup(str(tmp_path / 'empty'), str(tmp_path / 'c'))
    with pytest.raises(UserError, match='no such folder'):
        regrouping.regroup(str(tmp_path / 'none'), str(tmp_path / 'c'))


def test_two_versions_of_a_clip(root):
    target = root / 'images' / 'truth' / '003'
    target.mkdir(parents=True)
    write_png(str(target / '00000007.png'), np.zeros((4, 4, 3), np.uint8))
    with raises_facts(UserError, 'train_sharp/003', 'truth/003', 'two versions'):
        regrouping.regroup(str(root), str(root), partial=True)


@pytest.fixture
def both(root):
    """REDS with a second LQ subset: other pixels under the same names, sizes of files too."""
    for part in ('train', 'val'):
        source, other = (root / part / ('%s_%s' % (part, kind)) for kind in ('sharp_bicubic', 'blur_bicubic'))
        shutil.copytree(str(source), str(other))
        for path in other.glob('X4/*/*.png'):
            data = path.read_bytes()
            path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    return root


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob('*.png')}


@pytest.mark.parametrize('mode', ['move', 'copy'])
def test_another_lq_is_not_taken_for_the_first(both, mode):
    other = both / 'train' / 'train_blur_bicubic'
    before = contents(other)
    regrouping.regroup(str(both), str(both), mode, partial=True)
    with raises_facts(UserError, 'train_blur_bicubic/X4/000', 'blur4/000', '00000000.png differs', '--lq',
                      '--output_dir'):
        regrouping.regroup(str(both), str(both), mode, lq='blur_bicubic', partial=True)
    assert contents(other) == before and len(before) == 240


def test_links_follow_lq(both):
    for lq in ('sharp_bicubic', 'blur_bicubic'):
        regrouping.regroup(str(both), str(both), 'link', lq=lq, partial=True)
        assert contents(both / 'images' / 'blur4' / '007') == contents(both / 'train' / ('train_' + lq) / 'X4' / '007')
    shutil.rmtree(str(both / 'val' / 'val_sharp_bicubic'))
    with raises_facts(UserError, 'blur4/240', 'val_blur_bicubic', 'val_sharp_bicubic', '--lq'):
        regrouping.regroup(str(both), str(both), 'link', partial=True)


@pytest.mark.parametrize('name', ['00000000.png', '00000001.bmp'])
@pytest.mark.parametrize('damage', [slice(10, 20000), slice(9000, 9001)])
def test_a_damaged_copy_costs_no_source(tmp_path, name, damage):
    """A power cut leaves a copy short, or without some blocks in the middle."""
    source, target = tmp_path / 'source', tmp_path / 'target'
    source.mkdir()
    (source / name).write_bytes(b'x' * 20000)
    shutil.copytree(str(source), str(target))
    data = bytearray(b'x' * 20000)
    data[damage] = b'\0'
    (target / name).write_bytes(data)
    step = regrouping.Step('000', str(source), str(target))
    with raises_facts(UserError, str(source), str(target), name + ' differs'):
        regrouping.bring(step, 'move')
    assert (source / name).read_bytes() == b'x' * 20000
    (target / name).write_bytes(b'x' * 20000)
    regrouping.bring(step, 'move')
    assert not source.exists() and (target / name).exists()


def test_program(root, run_program):
    done = run_program('data_tools.regroup_reds', '--root_dir=%s' % root, '--partial')
    assert done.returncode == 0, done.stderr
    assert '266 clips train, 4 are held out' in done.stdout
    failed = run_program('data_tools.regroup_reds', cwd=str(root))
    assert failed.returncode == 1
    assert failed.stderr.startswith('error: data/REDS: no such folder; bash scripts/prepare_reds.sh makes it')


@pytest.mark.parametrize('mode', reds_config.MODES)
def test_a_link_that_a_stopped_run_left_is_replaced(tmp_path, mode):
    source, target = tmp_path / 'source', tmp_path / 'images' / '000'
    source.mkdir()
    (source / '00000000.png').write_bytes(b'x')
    target.parent.mkdir()
    os.symlink(str(source), str(target) + '.partial')
    regrouping.bring(regrouping.Step('000', str(source), str(target)), mode)
    assert (target / '00000000.png').read_bytes() == b'x' and target.is_symlink() == (mode == 'link')
    assert source.exists() == (mode != 'move')
