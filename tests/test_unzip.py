"""Unpacks untrusted archives."""
import os
import stat
import struct
import zipfile

import pytest
from archives import FRAMES, archive
from facts import raises_facts

from data_tools.base.errors import UserError
from data_tools.reds.unzip import DamagedError, unzip


def test_unzip_continues(tmp_path):
    path = tmp_path / 'a.zip'
    path.write_bytes(archive(FRAMES))
    assert unzip(str(path), str(tmp_path)) == 4
    first, second = (tmp_path / FRAMES[i][0] for i in (0, 1))
    first.write_bytes(b'cut')
    stamp = os.stat(str(second)).st_mtime_ns
    assert unzip(str(path), str(tmp_path)) == 4
    assert first.read_bytes() == FRAMES[0][1] and os.stat(str(second)).st_mtime_ns == stamp


def link(name):
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


@pytest.mark.parametrize('name, reason', [
    ('../escape', 'would leave'), ('a/../../escape', 'would leave'), ('/tmp/escape', 'would leave'),
    ('a\\..\\escape', 'would leave'), ('C:/escape', 'would leave'), (link('a/link'), 'is a link'),
    ('good', 'comes twice'), ('through/escape', 'through a link'), ('~/escape', 'has a control character'),
    ('a\nb', 'has a control character'), ('-rf', 'leading "-"'), ('a/x.partial', 'unfinished file'),
    ('good/below', 'is a file, but other members are below it')])
def test_unzip_refuses_members_that_escape(tmp_path, name, reason, recwarn):
    root = tmp_path / 'root'
    root.mkdir()
    (root / 'through').symlink_to(str(tmp_path))
    (tmp_path / 'a.zip').write_bytes(archive([('good', b'x'), (name, b'/etc/passwd')]))
    with pytest.raises(UserError, match=reason + '.*nothing was unpacked'):
        unzip(str(tmp_path / 'a.zip'), str(root))
    assert not (root / 'good').exists() and not (tmp_path / 'escape').exists()


def test_unzip_of_no_archive(tmp_path):
    (tmp_path / 'a.zip').write_bytes(archive(FRAMES)[:-30])
    with pytest.raises(DamagedError, match='not a complete zip archive'):
        unzip(str(tmp_path / 'a.zip'), str(tmp_path))


@pytest.mark.parametrize('name', ['downloads/train_sharp.done', 'train/val_sharp/x', 'train_sharp.png'])
def test_an_archive_writes_only_below_its_own_folders(tmp_path, name):
    (tmp_path / 'a.zip').write_bytes(archive(FRAMES + [(name, b'planted')]))
    with raises_facts(UserError, 'train/train_sharp', 'refused', 'nothing was unpacked'):
        unzip(str(tmp_path / 'a.zip'), str(tmp_path / 'root'), ('train/train_sharp', 'train_sharp'))
    assert not (tmp_path / 'root').exists()


def test_a_bomb_is_refused(tmp_path):
    with zipfile.ZipFile(str(tmp_path / 'a.zip'), 'w', zipfile.ZIP_DEFLATED) as file:
        file.writestr('a', bytes(10 << 20))
    with raises_facts(UserError, '0.0 GB', 'times its own size'):
        unzip(str(tmp_path / 'a.zip'), str(tmp_path / 'root'))


def test_a_directory_that_disagrees_with_its_members_is_damaged(tmp_path):
    data = bytearray(archive(FRAMES))
    where = data.rindex(b'00000001.png')
    data[where] = ord('1')   # another name in the directory at the end: the frame would land elsewhere
    (tmp_path / 'a.zip').write_bytes(bytes(data))
    with raises_facts(DamagedError, 'directory', 'header', "'train/train_sharp/001/10000001.png'", 'name'):
        unzip(str(tmp_path / 'a.zip'), str(tmp_path / 'root'))


def test_a_directory_that_hides_members_is_damaged(tmp_path):
    data = bytearray(archive(FRAMES))
    end = data.rindex(b'PK\x05\x06')
    size, = struct.unpack_from('<L', data, end + 12)
    last = data.rindex(b'PK\x01\x02')
    struct.pack_into('<L', data, end + 12, size - (end - last))   # the directory ends one member earlier
    (tmp_path / 'a.zip').write_bytes(bytes(data[:last] + data[end:]))
    with raises_facts(DamagedError, '4 members', 3):
        unzip(str(tmp_path / 'a.zip'), str(tmp_path / 'root'))
