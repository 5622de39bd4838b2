"""The shell scripts parse, and only a working interpreter makes an environment."""
import glob
import os
import shutil
import subprocess
import sys

import pytest
from conftest import ROOT
from facts import check_error, check_facts

SCRIPTS = sorted(glob.glob(os.path.join(ROOT, 'scripts', '*.sh')))
VERSION = '%d.%d' % sys.version_info[:2]
TENSORFLOW, OTHER = ('1.15', '2.15') if sys.version_info < (3, 8) else ('2.15', '1.15')
# what a version manager leaves where a version is not installed
SHIM = '#!/bin/sh\necho "pyenv: python%s: command not found" >&2\nexit 127\n'


def interpreter(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def bash(tmp_path):
    """Runs commands after sourcing environment.sh on a machine whose PATH is tmp_path/bin, without uv and pyenv."""
    (tmp_path / 'bin').mkdir()
    for name in ('uname', 'bash', 'dirname', 'date', 'cat', 'cksum', 'sh', 'rm'):
        found = subprocess.check_output(['sh', '-c', 'command -v ' + name], universal_newlines=True).strip()
        (tmp_path / 'bin' / name).symlink_to(found)

    def run(command, **environment):
        return subprocess.run([str(tmp_path / 'bin' / 'bash'), '-c', '. scripts/environment.sh; ' + command], cwd=ROOT,
                              env=dict(dict(PATH=str(tmp_path / 'bin'), HOME=str(tmp_path)), **environment),
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
    return run


def working(path):
    """This interpreter under another name; a link would not find its environment."""
    return interpreter(path, '#!/bin/sh\nexec %s "$@"\n' % sys.executable)


@pytest.mark.parametrize('path', SCRIPTS, ids=os.path.basename)
def test_scripts_parse(path):
    subprocess.check_call(['bash', '-n', path])


def test_a_shim_that_fails_is_not_taken(bash, tmp_path):
    for name in ('python3.7', 'python3.11', 'python3', 'python'):
        interpreter(tmp_path / 'bin' / name, SHIM % name)
    for tensorflow in ('1.15', '2.15'):
        result = bash('python_for ' + tensorflow)
        assert (result.returncode, result.stdout) == (1, '')
        check_facts(result.stderr, 'TensorFlow %s' % tensorflow, 'Python 3.', 'none that works')


@pytest.mark.parametrize('place', ['bin/python' + VERSION, 'bin/python', '.pyenv/versions/%s.9/bin/python' % VERSION])
def test_the_one_that_works_is_found_behind_shims(bash, tmp_path, place):
    for name in ('python3.7', 'python3.11', 'python3'):
        interpreter(tmp_path / 'bin' / name, SHIM % name)
    working(tmp_path / place)
    result = bash('python_for ' + TENSORFLOW)
    assert (result.returncode, result.stdout.strip()) == (0, sys.executable), result.stderr


def test_uv_is_asked(bash, tmp_path):
    python = working(tmp_path / 'store' / 'python')
    interpreter(tmp_path / 'bin' / 'uv', '#!/bin/sh\n[ "$*" = "python find %s" ] && echo %s\n' % (VERSION, python))
    assert bash('python_for ' + TENSORFLOW).stdout.strip() == sys.executable


def test_another_version_under_the_name_is_not_taken(bash, tmp_path):
    working(tmp_path / 'bin' / 'python3.7')
    working(tmp_path / 'bin' / 'python3.11')
    result = bash('python_for ' + OTHER)
    assert (result.returncode, result.stdout) == (1, '')


def test_the_demonstration_says_what_to_install(bash, tmp_path):
    result = bash('bash scripts/demo.sh --output_dir=%s' % (tmp_path / 'out'))
    assert result.returncode == 1 and result.stderr.startswith('error: no TensorFlow can be installed here:')
    for text in ('needs Python 3.7,', 'needs Python 3.9, 3.10 or 3.11,', "'pyenv install 3.11'", 'uv python install'):
        assert text in result.stderr
    assert not (tmp_path / 'out').exists()


def test_a_tensorflow_there_is_not(bash):
    check_error(bash('python_for 2.16'), 'TensorFlow 2.16', 1.15, 2.6, 2.15)


def test_cann_that_is_named_and_not_there_is_an_error(tmp_path):
    """The named script is sourced, even if it uses undefined variables."""
    script = ['bash', '-c', 'set -eu; root=/somewhere; . scripts/ascend.sh; echo "$CANN $PYTHONPATH"']
    named = tmp_path / 'set_env.sh'
    for text in (None, 'export CANN=9.1$NO_SUCH_VARIABLE\nfalse\n'):
        if text:
            named.write_text(text)
        done = subprocess.run(script, cwd=ROOT, env=dict(os.environ, ASCEND_SET_ENV=str(named), PYTHONPATH=''),
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
        if text:
            assert (done.returncode, done.stdout) == (0, '9.1 /somewhere\n')
        else:
            check_error(done, 'ASCEND_SET_ENV', named, 'not a file')


SHELLCHECK = shutil.which('shellcheck', path=os.path.dirname(sys.executable) + os.pathsep + os.environ['PATH'])


@pytest.mark.skipif(not SHELLCHECK, reason='shellcheck is not installed')
def test_shellcheck_finds_nothing():
    done = subprocess.run([SHELLCHECK, '-x'] + SCRIPTS + [os.path.join('.ci', 'run')], cwd=ROOT,
                          stdout=subprocess.PIPE, universal_newlines=True)
    assert done.returncode == 0, done.stdout
