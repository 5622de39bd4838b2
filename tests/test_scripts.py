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
    check_error(bash('python_for 2.16'), 'TensorFlow 2.16', 1.15, 2.6, 2.13, 2.15)


# an interpreter whose TensorFlow has the version in the file `here`, and in the environments that it makes the one in
# `there`; pip writes its arguments to the file `installed`
HOST = """#!/bin/bash
case "$*" in
    *'import tensorflow'*) cat {0}/here 2>/dev/null ;;
    '-m venv '*) directory=${{*: -1}}; mkdir -p "$directory/bin"; echo "$*" > {0}/made
        sed 's:/here:/there:' {0}/python > "$directory/bin/python"; chmod +x "$directory/bin/python" ;;
    '-m pip '*) echo "$*" >> {0}/installed ;;
esac
"""


@pytest.mark.parametrize('version, cards, sees_host, kept', [
    ('1.15.0', False, True, True), ('2.6.5', True, True, True), ('2.13.1', False, True, True),
    ('2.15.1', False, False, False), ('1.14.0', True, True, False), ('', False, False, False),
    ('', True, True, False)])
def test_an_environment_keeps_the_tensorflow_of_the_host(bash, tmp_path, version, cards, sees_host, kept):
    for name in ('mkdir', 'sed', 'chmod'):
        (tmp_path / 'bin' / name).symlink_to(shutil.which(name))
    interpreter(tmp_path / 'python', HOST.format(tmp_path))
    for name in ('here', 'there') if version else ():
        if name == 'here' or sees_host:
            (tmp_path / name).write_text(version + '\n')
    named = ['requirements/tf.txt', 'tests/requirements-tf2.13.txt']
    make = 'set -eu; has_cards() { %s; }; make_environment %s/new %s/python requirements.txt %s' % (
        str(cards).lower(), tmp_path, tmp_path, ' '.join(named))
    done = bash(make)
    assert done.returncode == 0, done.stderr
    assert ('--system-site-packages' in (tmp_path / 'made').read_text()) == sees_host
    arguments = (tmp_path / 'installed').read_text().splitlines()[-1].split()
    assert [name in arguments for name in named + ['requirements.txt']] == [not kept, not kept, True]
    assert ('-c %s/new/host.txt' % tmp_path in ' '.join(arguments)) == kept
    if kept:
        check_facts(done.stderr, 'TensorFlow ' + version)
    (tmp_path / 'installed').unlink()
    assert bash(make).returncode == 0 and not (tmp_path / 'installed').exists()   # it is there already


@pytest.mark.parametrize('version, named', [((3, 12), True), ((3, 6), False)])
def test_a_python_that_is_too_new_is_named_with_the_reason(bash, tmp_path, version, named):
    interpreter(tmp_path / 'bin' / 'python3', '#!/bin/sh\n[ "$1" = -c ] && exec %s -c "import sys\n'
                'sys.version_info = %r\n${2#import sys}"\n' % (sys.executable, version))
    done = bash('python_for 2.15')
    assert (done.returncode, done.stdout) == (1, '')
    assert [fact in done.stderr for fact in ('python3 here is 3.12', 'the last with Estimator')] == [named] * 2
    check_facts(done.stderr, 'Python 3.9, 3.10 or 3.11')


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


def test_the_folder_of_the_adapter_is_on_the_path(tmp_path):
    script = ['bash', '-c', 'set -eu; root=/somewhere; . scripts/ascend.sh; echo "$PYTHONPATH"']
    for folder in (tmp_path / 'absent', tmp_path):
        done = subprocess.run(script, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True,
                              env=dict(os.environ, TFPLUGIN_INSTALL_PATH=str(folder), PYTHONPATH='/own'))
        if folder == tmp_path:
            assert (done.returncode, done.stdout) == (0, '/somewhere:%s:/own\n' % tmp_path)
        else:
            check_error(done, 'TFPLUGIN_INSTALL_PATH', folder, 'not a folder')


SHELLCHECK = shutil.which('shellcheck', path=os.path.dirname(sys.executable) + os.pathsep + os.environ['PATH'])


@pytest.mark.skipif(not SHELLCHECK, reason='shellcheck is not installed')
def test_shellcheck_finds_nothing():
    done = subprocess.run([SHELLCHECK, '-x'] + SCRIPTS + [os.path.join('.ci', 'run')], cwd=ROOT,
                          stdout=subprocess.PIPE, universal_newlines=True)
    assert done.returncode == 0, done.stdout
