"""The installed package: every program is a command, and all other files are included."""
import configparser
import os
import re
import shutil
import subprocess
import sys
import zipfile

import pytest
from conftest import ROOT

import edvr


def programs():
    """Names of the modules that run as programs, such as edvr.train."""
    found = []
    for package in ('data_tools', 'edvr'):
        for name in sorted(os.listdir(os.path.join(ROOT, package))):
            if name.endswith('.py'):
                with open(os.path.join(ROOT, package, name)) as file:
                    if "if __name__ == '__main__':" in file.read():
                        found.append('%s.%s' % (package, name[:-len('.py')]))
    return found


def command(program):
    return 'edvr-' + program.split('.')[1].replace('_', '-')


def test_every_program_is_a_command():
    with open(os.path.join(ROOT, 'pyproject.toml')) as file:
        text = file.read()
    listed = re.search(r'\[project\.scripts\]\n((?:\S.*\n)+)', text).group(1)
    assert sorted(listed.splitlines()) == sorted('%s = "%s:run"' % (command(name), name) for name in programs())


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    folder, source = tmp_path_factory.mktemp('wheel'), tmp_path_factory.mktemp('source')   # a build leaves files there
    for name in ('data_tools', 'edvr', 'flags'):
        shutil.copytree(os.path.join(ROOT, name), str(source / name), ignore=shutil.ignore_patterns('__pycache__'))
    for name in ('LICENSE', 'README.md', 'pyproject.toml', 'requirements.txt', 'setup.py'):
        shutil.copy(os.path.join(ROOT, name), str(source))
    subprocess.run([sys.executable, '-m', 'pip', 'wheel', '--quiet', '--no-deps', '--no-build-isolation',
                    '--wheel-dir', str(folder), str(source)], check=True)
    name, = os.listdir(str(folder))
    return zipfile.ZipFile(str(folder / name))


def test_the_wheel_holds_all_that_runs(wheel):
    names = set(wheel.namelist())
    for package in ('data_tools', 'edvr'):
        for folder, _, files in os.walk(os.path.join(ROOT, package)):
            for name in files:
                if name.endswith(('.py', '.cc', '.h', 'py.typed')):
                    path = os.path.relpath(os.path.join(folder, name), ROOT)
                    assert path in names
    for name in os.listdir(os.path.join(ROOT, 'flags')):
        assert 'edvr/flagfiles/' + name in names


def test_the_wheel_has_the_version_of_the_package(wheel):
    assert wheel.filename.split(os.sep)[-1].startswith('edvr-%s-' % edvr.__version__)


def test_the_wheel_needs_what_requirements_list(wheel):
    metadata, = [name for name in wheel.namelist() if name.endswith('/METADATA')]
    needed = set(re.findall(r'^Requires-Dist: ([\w-]+)', wheel.read(metadata).decode(), re.M))
    with open(os.path.join(ROOT, 'requirements.txt')) as file:
        listed = {re.match(r'[\w-]+', line).group() for line in file if line.strip() and line[0] != '#'}
    assert needed == listed | {'torch', 'apache-beam', 'onnx', 'onnxruntime', 'matplotlib'}


def test_commands_run_from_anywhere_without_the_checkout(wheel, tmp_path):
    """From the unpacked wheel: a flagfile by name, and the help of a program of each package."""
    wheel.extractall(str(tmp_path / 'site'))
    env = dict(os.environ, PYTHONPATH=str(tmp_path / 'site'))
    entry, = [name for name in wheel.namelist() if name.endswith('/entry_points.txt')]
    scripts = configparser.ConfigParser()
    scripts.read_string(wheel.read(entry).decode())
    for name, arguments, text in (('edvr-train', ['--flagfile=8p', '--device=cpu', '--print_config'], '--batch_size='),
                                  ('edvr-make-tfrecords', ['--help'], 'Packs clips into TFRecord shards')):
        module, function = scripts['console_scripts'][name].split(':')
        (tmp_path / name).write_text('from %s import %s\n%s()\n' % (module, function, function))
        done = subprocess.run([sys.executable, str(tmp_path / name)] + arguments, cwd=str(tmp_path), env=env,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
        assert done.returncode == 0 and text in done.stdout, done.stderr
