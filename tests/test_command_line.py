"""Command lines with flagfiles: nested, relative, known by name; the origin of each flag."""
import os

import pytest
from facts import raises_facts

from data_tools.base import command_line
from data_tools.base.errors import UserError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of known flagfiles, another one with a recipe of the user's, and a working directory elsewhere."""
    (tmp_path / 'known').mkdir()
    (tmp_path / 'known' / '8p.cfg').write_text('# eight\n--flagfile=base.cfg\n\n--batch_size=4\n')
    (tmp_path / 'known' / 'base.cfg').write_text('// all\n--steps=9\n  --noflip\n--batch_size=32\n')
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine' / 'run.cfg').write_text('--flagfile=8p\n--flagfile=more.cfg\n--steps=5\n')
    (tmp_path / 'mine' / 'more.cfg').write_text('--seed\n3\n')
    (tmp_path / 'cwd').mkdir()
    monkeypatch.chdir(str(tmp_path / 'cwd'))
    return str(tmp_path / 'known')


@pytest.mark.parametrize('name', ['8p', '8p.cfg', 'flags/8p.cfg', '../known/8p.cfg'])
def test_lines_take_the_place_of_the_flagfile(folder, name):
    for spelling in (['--flagfile=' + name], ['-flagfile', name]):
        found = command_line.read(['--a=1'] + spelling + ['--b', '2'], folder)
        assert found.arguments == ['--a=1', '--steps=9', '--noflip', '--batch_size=32', '--batch_size=4', '--b', '2']
        assert found.typed == ['--a=1'] + spelling + ['--b', '2']
    assert [os.path.basename(path) for path in found.flagfiles] == ['8p.cfg', 'base.cfg']
    assert '--noflip' in list(found.flagfiles.values())[1]


def test_a_flagfile_names_others_relative_to_itself_or_by_their_names(folder):
    found = command_line.read(['--flagfile=../mine/run.cfg'], folder)
    assert found.arguments == ['--steps=9', '--noflip', '--batch_size=32', '--batch_size=4', '--seed', '3', '--steps=5']


def test_what_the_command_line_itself_gives(folder):
    found = command_line.read(['--flagfile=8p', '--a=1', '-b', '2', '--noc', 'd', '--', '--e=1'], folder)
    assert [name for name in ('a', 'b', 'c', 'd', 'e', 'steps', 'flip') if found.gives(name)] == ['a', 'b', 'c']
    assert found.arguments[-2:] == ['--', '--e=1']


def test_a_file_of_that_name_wins(folder):
    with open('8p', 'w') as file:
        file.write('--steps=1')
    assert command_line.read(['--flagfile=8p'], folder).arguments == ['--steps=1']


@pytest.mark.parametrize('name, facts', [
    ('9p', ['--flagfile=9p', 'no such file', '8p, base']),
    ('', ['--flagfile=', 'no such file']),
    ('../mine/bad.cfg', ['--flagfile=nothing.cfg', '../mine/bad.cfg', 'no such file']),
    ('../mine/round.cfg', ['round.cfg', 'includes itself']),
    ('../mine/binary.cfg', ['binary.cfg', 'cannot be read'])])
def test_what_is_wrong_with_flagfiles(folder, name, facts):
    for file_name, content in (('bad.cfg', b'--flagfile=nothing.cfg'), ('round.cfg', b'--flagfile=../mine/round.cfg'),
                               ('binary.cfg', b'\x80')):
        with open('../mine/' + file_name, 'wb') as file:
            file.write(content)
    with raises_facts(UserError, *facts):
        command_line.read(['--flagfile=' + name], folder)


def test_defaults_of_a_flagfile_come_first(folder):
    """Flagfiles on both sides of it win over them, and so do earlier arguments."""
    with open('../known/machine.cfg', 'w') as file:
        file.write('--defaults=base\n--devices=8\n')
    base, more = ['--steps=9', '--noflip', '--batch_size=32'], ['--seed', '3']
    assert command_line.read(['--flagfile=machine'], folder).arguments == base + ['--devices=8']
    for order, arguments in ((['machine', '../mine/more.cfg'], ['--devices=8'] + more),
                             (['../mine/more.cfg', 'machine'], more + ['--devices=8'])):
        found = command_line.read(['--a'] + ['--flagfile=' + name for name in order], folder)
        assert found.arguments == base + ['--a'] + arguments
    assert command_line.read(['--defaults=base'], folder).arguments == ['--defaults=base']   # only in flagfiles


def test_earlier_names_of_flags(folder):
    renamed = dict(old='new', flop='flip')
    with open('8p', 'w') as file:
        file.write('--old\n1\n--noflop')
    found = command_line.read(['--flagfile=8p', '-old=2', '--older=old', '--flop'], folder, renamed)
    assert found.arguments == ['--new', '1', '--noflip', '-new=2', '--older=old', '--flip']
    assert found.gives('new') and found.gives('flip') and not found.gives('old')
    assert found.typed[1] == '-old=2'


def test_without_known_flagfiles():
    with pytest.raises(UserError, match=r'^--flagfile=8p: no such file$'):
        command_line.read(['--flagfile=8p'])
