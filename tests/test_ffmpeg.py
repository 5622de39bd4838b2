"""The ffmpeg process: which program it is, its limits, and what is reported of its end."""
import os
import resource
import signal
import subprocess

import imageio_ffmpeg
import pytest
from facts import check_facts, raises_facts

from data_tools.base.errors import UserError
from data_tools.media import ffmpeg, ffmpeg_choice, video

ENCODERS = ' V..... libx264 x\n V..... libx265 x\n V..... libvpx-vp9 x\n'


def program(path, version, encoders=ENCODERS, action='exit 3'):
    """Writes a program that answers as ffmpeg of a version, and does `action` when it is to work."""
    path.parent.mkdir(exist_ok=True)
    path.write_text('#!/bin/sh\ncase "$*" in\n-version) echo "ffmpeg version %s Copyright";;\n*-encoders) echo "%s";;\n'
                    '*) %s;;\nesac\n' % (version, encoders, action))
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def choose(tmp_path, monkeypatch):
    """function (version of the bundled one, version on the PATH or None, encoders of that one) -> their paths."""
    def make(bundled, other, encoders=ENCODERS):
        paths = program(tmp_path / 'bundled' / 'ffmpeg', bundled), str(tmp_path / 'path' / 'ffmpeg')
        monkeypatch.setattr(imageio_ffmpeg, 'get_ffmpeg_exe', lambda: paths[0])
        monkeypatch.setenv('PATH', str(tmp_path / 'path'), prepend=os.pathsep)
        monkeypatch.setenv(ffmpeg_choice.VARIABLE, '')
        if other:
            program(tmp_path / 'path' / 'ffmpeg', other, encoders)
        return paths
    return make


@pytest.mark.parametrize('other', ['5.1.6-0+deb12u1', '7.1', 'N-118000-gabc', 'n8.0-1-gdef'])
def test_a_newer_ffmpeg_on_the_path_replaces_an_old_bundled_one(choose, other, capfd):
    bundled, newer = choose('4.2.2-static', other)
    assert [ffmpeg_choice.executable() for _ in range(3)] == [newer] * 3
    assert ffmpeg.version() == other and ffmpeg.command()[0] == newer
    said = capfd.readouterr().err
    check_facts(said, other, newer, '4.2.2-static', '%s=%s' % (ffmpeg_choice.VARIABLE, bundled))
    assert said.count('\n') == 1
    assert os.environ[ffmpeg_choice.VARIABLE] == newer   # started processes use it too, and do not print it again


@pytest.mark.parametrize('bundled, other, encoders', [
    ('4.2.2-static', '4.4.1', ENCODERS), ('4.2.2-static', '7.1', ' V..... libx265 x\n'), ('4.2.2-static', None, ''),
    ('4.2.2-static', '', ENCODERS), ('7.0.2-static', '7.1', ENCODERS)])
def test_otherwise_the_bundled_ffmpeg_is_used(choose, bundled, other, encoders, capfd, monkeypatch):
    path, _ = choose(bundled, other, encoders)
    if other is None:
        monkeypatch.setenv('PATH', '/nonexistent')
    assert ffmpeg_choice.executable() == path and capfd.readouterr().err == ''


def test_the_ffmpeg_that_a_user_names_is_used(choose, tmp_path, monkeypatch, capfd):
    choose('4.2.2-static', '7.1')
    named = program(tmp_path / 'named' / 'ffmpeg', '4.4')
    monkeypatch.setenv(ffmpeg_choice.VARIABLE, named)
    assert (ffmpeg_choice.executable(), ffmpeg.version(), capfd.readouterr().err) == (named, '4.4', '')


@pytest.mark.parametrize('named', ['/nonexistent/ffmpeg', '/etc/passwd', '/bin/false', '/bin/echo'])
def test_a_program_that_is_no_ffmpeg_is_named(monkeypatch, named, tmp_path):
    monkeypatch.setenv(ffmpeg_choice.VARIABLE, named)
    path = tmp_path / 'a.mp4'
    path.write_bytes(b'0')
    with raises_facts(UserError, named, ffmpeg_choice.VARIABLE):
        video.inspect(str(path))
    with raises_facts(UserError, named, ffmpeg_choice.VARIABLE):
        ffmpeg.each_frame()


def test_without_any_ffmpeg_the_remedy_is_named(monkeypatch):
    def none():
        raise RuntimeError('No ffmpeg exe could be found.')
    monkeypatch.setenv(ffmpeg_choice.VARIABLE, '')
    monkeypatch.setattr(imageio_ffmpeg, 'get_ffmpeg_exe', none)
    with raises_facts(UserError, 'no ffmpeg', ffmpeg_choice.VARIABLE):
        ffmpeg.command()


@pytest.fixture
def own_limit():
    """function (kind, value or None for the highest): sets a soft limit of this process for the time of a test."""
    before = {}

    def set_own(kind, value=None):
        before[kind] = resource.getrlimit(kind)
        resource.setrlimit(kind, (before[kind][1] if value is None else value, before[kind][1]))
    yield set_own
    for kind, limits in before.items():
        resource.setrlimit(kind, limits)


def test_ffmpeg_runs_with_limits(own_limit):
    own_limit(resource.RLIMIT_CORE)   # as on a host that keeps core dumps
    reading = ffmpeg.command('-f', 'rawvideo', '-pix_fmt', 'rgb24', '-s', '8x8', '-i', 'pipe:0', '-f', 'null', '-',
                             read_stdin=True)
    with ffmpeg.decoding(reading, subprocess.DEVNULL, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as (
            process, done):
        def soft(kind):
            return resource.prlimit(process.pid, kind)[0]
        assert soft(resource.RLIMIT_CORE) == 0 and 2 ** 34 < soft(resource.RLIMIT_AS) < 2 ** 38
        first = soft(resource.RLIMIT_CPU)
        done(1000)
        assert 0 < first < soft(resource.RLIMIT_CPU) < 10 ** 6
    assert resource.getrlimit(resource.RLIMIT_CPU)[0] == resource.RLIM_INFINITY


def test_limits_of_the_process_itself_are_kept(own_limit):
    own_limit(resource.RLIMIT_CPU, 80000)
    with ffmpeg.running(['sleep', '60']) as process:
        assert resource.prlimit(process.pid, resource.RLIMIT_CPU)[0] == 80000


def test_a_decoder_that_never_ends_is_ended():
    with ffmpeg.running(['sh', '-c', 'while :; do :; done'], cpu_seconds=1) as process:
        assert process.wait(120) == -signal.SIGXCPU
    check_facts(ffmpeg.failure(process.returncode), 'too much time', 'processor')


def test_a_probe_that_never_ends_is_ended(tmp_path, monkeypatch):
    monkeypatch.setenv(ffmpeg_choice.VARIABLE, program(tmp_path / 'slow' / 'ffmpeg', '7.1', action='exec sleep 20'))
    monkeypatch.setattr(ffmpeg, 'PROBE_SECONDS', .3)
    path = tmp_path / 'a.mp4'
    path.write_bytes(b'0')
    with raises_facts(UserError, path, 'does not end', '0.3 s'):
        video.inspect(str(path))


def test_a_crash_names_the_signal_and_the_variable(tmp_path, monkeypatch):
    monkeypatch.setenv(ffmpeg_choice.VARIABLE, program(tmp_path / 'bad' / 'ffmpeg', '7.1', action='kill -SEGV $$'))
    path = tmp_path / 'a.mp4'
    path.write_bytes(b'\0')
    with raises_facts(UserError, path, 'SIGSEGV', ffmpeg_choice.VARIABLE):
        video.inspect(str(path))
