"""The record of the origin of a run."""
import os
import subprocess

from data_tools.base import command_line
from edvr.training.rundir import provenance


def git(folder, *arguments):
    names = ['-c', 'user.name=a', '-c', 'user.email=a@b']
    return subprocess.run(['git', '-C', str(folder)] + names + list(arguments), check=True, stdout=subprocess.PIPE,
                          universal_newlines=True).stdout.strip()


def test_revision_of_the_code(tmp_path):
    assert provenance.revision(str(tmp_path)) is None
    git(tmp_path, 'init', '-q')
    (tmp_path / 'file').write_text('one')
    git(tmp_path, 'add', 'file')
    git(tmp_path, 'commit', '-q', '-m', 'first')
    head = git(tmp_path, 'rev-parse', 'HEAD')
    assert provenance.revision(str(tmp_path)) == head
    (tmp_path / 'file').write_text('two')
    assert provenance.revision(str(tmp_path)) == head + '+'
    (tmp_path / 'folder').mkdir()
    assert provenance.revision(str(tmp_path / 'folder')) is None   # a repository around it is another one's


def test_version_of_cann(tmp_path, monkeypatch):
    for name in provenance.CANN_HOMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('ASCEND_TOOLKIT_HOME', str(tmp_path))
    (tmp_path / 'compiler').mkdir()
    (tmp_path / 'compiler' / 'version.info').write_text('Arch=x\nVersion=1.84.15\n')
    assert provenance.cann_version() == 'Version=1.84.15'


def test_text_names_everything(tmp_path):
    (tmp_path / 'run.cfg').write_text('--steps=3\n')
    read = command_line.read(['--flagfile=%s' % (tmp_path / 'run.cfg'), '--seed=4'])
    found = provenance.describe('npu', 8, 'abc', read)
    text = provenance.as_text(found)
    for part in ('| device | 8 x npu |', '| data | abc |', '--seed=4', str(tmp_path / 'run.cfg'), '--steps=3',
                 '| tensorflow | %s |' % found['versions']['tensorflow']):
        assert part in text
    assert os.uname().nodename in found['host']
    assert provenance.describe('cpu', 1, None)['command'] is None
