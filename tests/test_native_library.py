"""The library of compiled operators: its build, its failures, and the safety of its cache."""
import fcntl
import os
import pathlib
import re
import shutil
import stat
import subprocess
import threading
import time

import preloaded
import pytest
import tensorflow.compat.v1 as tf
from facts import raises_facts

from edvr.ops import native_library

needs_compiler = pytest.mark.skipif(native_library.compiler() is None, reason='no C++ compiler')


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """A process that has not looked for the operator yet, with an empty cache; returns the cache's folder."""
    monkeypatch.setenv(native_library.CACHE_VARIABLE, str(tmp_path / 'cache'))
    monkeypatch.setattr(native_library, '_state', {})
    return tmp_path / 'cache' / 'native'


def executable(path, text):
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_without_compiler_one_notice(fresh, monkeypatch, tmp_path, capfd):
    monkeypatch.setenv('PATH', str(tmp_path))
    monkeypatch.delenv('CXX', raising=False)
    assert not native_library.available()
    assert not native_library.available()
    notices = capfd.readouterr().err.strip().split('\n')
    assert len(notices) == 1 and 'no C++ compiler (g++) on the PATH' in notices[0]
    with pytest.raises(native_library.BuildError, match='install g'):
        native_library.load()


def test_failing_compiler_names_its_log(fresh, monkeypatch, tmp_path):
    monkeypatch.setenv('CXX', executable(tmp_path / 'broken', '#!/bin/sh\necho the disk melted\nexit 3\n'))
    with pytest.raises(native_library.BuildError, match=r'exit code 3.*\.log') as error:
        native_library.load()
    log = re.search(r'\S+\.log', str(error.value)).group()
    with open(log) as file:
        assert 'the disk melted' in file.read()
    assert not [name for name in os.listdir(str(fresh)) if name.endswith(('.so', '.partial'))]


@pytest.mark.parametrize('macro, flagged', [('__AVX512FP16__', True), ('__AVX512F__', False)])
def test_float16_instructions_are_not_used_where_the_compiler_has_them(fresh, monkeypatch, tmp_path, macro, flagged):
    """Checks the flag without which g++ 14 refuses TensorFlow 2.15's headers on a processor with AVX512_FP16."""
    monkeypatch.setenv('CXX', executable(
        tmp_path / 'compiler', '#!/bin/sh\ncase "$*" in *-dM*) echo "#define %s 1";; *) exit 3;; esac\n' % macro))
    with pytest.raises(native_library.BuildError, match=r'exit code 3.*\.log') as error:
        native_library.load()
    commands = pathlib.Path(re.search(r'\S+\.log', str(error.value)).group()).read_text().splitlines()
    assert commands and all(('-mno-avx512fp16' in command) == flagged for command in commands)


def test_cache_that_cannot_be_made(fresh, monkeypatch, tmp_path):
    (tmp_path / 'file').write_text('')
    monkeypatch.setenv(native_library.CACHE_VARIABLE, str(tmp_path / 'file'))
    monkeypatch.setenv('CXX', executable(tmp_path / 'any', '#!/bin/sh\n'))
    with pytest.raises(native_library.BuildError, match='set EDVR_CACHE_DIR'):
        native_library.load()


@needs_compiler
@pytest.mark.parametrize('kind', ['garbage', 'truncated', 'writable by others', 'other TensorFlow'])
def test_library_that_does_not_load_is_rebuilt(monkeypatch, tmp_path, kind):
    """Under the right name: not a library at all, half of one (loading it would end the process with SIGBUS), one that
    others could have changed, and one that misses symbols, as that of another TensorFlow does."""
    good, real = native_library.build(), native_library.compiler()
    quick = executable(tmp_path / 'quick', '#!/bin/sh\n'   # a compiler that is done at once
                       'while [ $# -gt 0 ]; do [ "$1" = -o ] && head -c -32 %s >"$2"; shift; done; echo 1.0\n' % good)
    monkeypatch.setenv('CXX', quick)
    monkeypatch.setenv(native_library.CACHE_VARIABLE, str(tmp_path))
    stale = native_library.library_path(quick)
    os.makedirs(os.path.dirname(stale), mode=0o700)
    if kind == 'garbage':
        with open(stale, 'w') as file:
            file.write('not a library')
    elif kind == 'truncated':
        with open(good, 'rb') as file, open(stale, 'wb') as half:
            half.write(file.read()[:os.path.getsize(good) // 2])
    elif kind == 'writable by others':
        shutil.copy(good, stale)
        os.chmod(stale, 0o757)
    else:
        source = tmp_path / 'stale.cc'
        source.write_text('extern int symbol_of_another_tensorflow(); int value = symbol_of_another_tensorflow();')
        subprocess.run([real, '-shared', '-fPIC', str(source), '-o', stale], check=True)
        native_library.append_digest(stale)
    program = tmp_path / 'load.py'
    program.write_text('from edvr.ops import native_library as library\n'
                       'print(library.available(), library.load().__name__)\n')
    child = preloaded.run(str(program), [], 60)
    assert child.returncode == 0 and child.stdout.startswith('True'), child.stderr
    assert child.stderr.count('building the compiled') == 1
    with open(stale, 'rb') as one, open(good, 'rb') as other:
        assert one.read() == other.read()
    assert os.stat(stale).st_mode & 0o777 == 0o755


@needs_compiler
@pytest.mark.parametrize('mode, owner, refused', [
    (0o777, None, True), (0o1777, 12345, True), (0o755, 12345, True), (0o1777, 0, False), (0o755, None, False)])
def test_the_folder_of_the_variable_is_refused_if_others_can_replace_what_is_in_it(
        tmp_path, monkeypatch, mode, owner, refused):
    base = tmp_path / 'cache'
    base.mkdir()
    if owner is not None:
        if os.geteuid():
            pytest.skip('only root gives files away')
        os.chown(str(base), owner, owner)
    base.chmod(mode)
    monkeypatch.setenv(native_library.CACHE_VARIABLE, str(base))
    if not refused:
        native_library.make_cache()
        assert (base / 'native').stat().st_mode & 0o777 == 0o700
        return
    with raises_facts(native_library.BuildError, base, 'EDVR_CACHE_DIR'):
        native_library.make_cache()


@needs_compiler
def test_a_cache_that_others_can_write_is_refused(fresh, capfd):
    fresh.mkdir(parents=True)
    fresh.chmod(0o777)
    with raises_facts(native_library.BuildError, fresh, 'writable by others', 'set EDVR_CACHE_DIR'):
        native_library.build()
    assert not native_library.available() and 'writable by others' in capfd.readouterr().err
    assert os.listdir(str(fresh)) == []


@needs_compiler
def test_a_cache_of_another_user_is_refused(fresh, monkeypatch):
    stranger = os.stat(native_library.SOURCE).st_uid + 1   # neither root, nor this user, nor the package's owner
    monkeypatch.setattr(native_library.os, 'geteuid', lambda: stranger + 1)
    monkeypatch.setattr(native_library.os, 'lstat', lambda path: os.stat_result((0o40700,) + 3 * (0,) + (stranger,)
                                                                                + 5 * (0,)))
    with pytest.raises(native_library.BuildError, match='belongs to another user'):
        native_library.build()


@needs_compiler
def test_the_cache_is_private_whatever_the_umask(fresh):
    before = os.umask(0)
    try:
        native_library.make_cache()
    finally:
        os.umask(before)
    assert os.stat(str(fresh)).st_mode & 0o777 == 0o700


def test_name_depends_on_tensorflow_and_compiler(fresh, monkeypatch, tmp_path):
    one = executable(tmp_path / 'one', '#!/bin/sh\necho 1.0\n')
    names = {native_library.library_path(one)}
    executable(tmp_path / 'one', '#!/bin/sh\necho 1.1\n')
    names.add(native_library.library_path(one))
    monkeypatch.setattr(tf, '__version__', '1.15.6')
    names.add(native_library.library_path(one))
    monkeypatch.setattr(native_library, '_processor', lambda: 'another')
    names.add(native_library.library_path(one))
    assert len(names) == 4


def test_who_waits_for_another_process_is_told_for_what(fresh, capfd):
    """Of several ranks, only the first one's terminal is seen, and any of them may be the one that builds."""
    native_library.make_cache()
    path = os.path.join(native_library.cache_dir(), 'made')
    with open(path + '.lock', 'w') as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        waiting = threading.Thread(target=native_library.keep, args=(
            path, lambda name: pathlib.Path(name).touch(), 'building it ...'))
        waiting.start()
        said = ''
        while waiting.is_alive() and 'another process, which is building it' not in said:
            said += capfd.readouterr().err
            time.sleep(.01)
        assert not os.path.exists(path)
    waiting.join(60)
    assert native_library.is_valid(path)
