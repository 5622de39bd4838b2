"""The installed package: every program is a command, and all other files are included."""
import configparser
import glob
import os
import re
import shutil
import subprocess
import sys
import zipfile

import pip
import pytest
from conftest import ROOT
from facts import check_facts
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

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


def build(folder, source):
    """Builds the wheel in a copy of the sources, as a build leaves files there; returns its path."""
    for name in ('data_tools', 'edvr', 'flags', 'requirements'):
        shutil.copytree(os.path.join(ROOT, name), str(source / name), ignore=shutil.ignore_patterns('__pycache__'))
    for name in ('LICENSE', 'README.md', 'pyproject.toml', 'requirements.txt', 'setup.py'):
        shutil.copy(os.path.join(ROOT, name), str(source))
    subprocess.run([sys.executable, '-m', 'pip', 'wheel', '--quiet', '--no-deps', '--no-build-isolation',
                    '--wheel-dir', str(folder), str(source)], check=True,
                   env=dict(os.environ, SOURCE_DATE_EPOCH='1700000000'))
    name, = os.listdir(str(folder))
    return os.path.join(str(folder), name)


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    return zipfile.ZipFile(build(tmp_path_factory.mktemp('wheel'), tmp_path_factory.mktemp('source')))


@pytest.mark.faults   # a second build
def test_the_wheel_is_the_same_in_each_build(wheel, tmp_path):
    """In another folder, from files of another time."""
    for name in ('wheel', 'a source'):
        (tmp_path / name).mkdir()
    again = build(tmp_path / 'wheel', tmp_path / 'a source')
    assert os.path.basename(again) == os.path.basename(wheel.filename)
    with open(again, 'rb') as second, open(wheel.filename, 'rb') as first:
        assert first.read() == second.read()


def test_the_wheel_holds_all_that_runs(wheel):
    names = set(wheel.namelist())
    for package in ('data_tools', 'edvr'):
        for folder, _, files in os.walk(os.path.join(ROOT, package)):
            for name in files:
                if name.endswith(('.py', '.cc', '.h', '.tsv', 'py.typed')):
                    path = os.path.relpath(os.path.join(folder, name), ROOT)
                    assert path in names
    for name in os.listdir(os.path.join(ROOT, 'flags')):
        assert 'edvr/flagfiles/' + name in names


def metadata(wheel):
    name, = [name for name in wheel.namelist() if name.endswith('/METADATA')]
    return wheel.read(name).decode()


def test_the_wheel_has_the_version_of_the_package(wheel):
    assert wheel.filename.split(os.sep)[-1].startswith('edvr-%s-' % edvr.__version__)


def listed(path):
    """The requirements of a file: {name: Requirement}; of several lines for a name, the last."""
    with open(os.path.join(ROOT, path)) as file:
        lines = [line.partition(' #')[0].strip() for line in file]
    return {Requirement(line).name: Requirement(line) for line in lines if line and line[0] != '#'}


def test_the_wheel_needs_what_requirements_list(wheel):
    required = [Requirement(line) for line in re.findall(r'^Requires-Dist: (.*)', metadata(wheel), re.M)]
    extras = re.findall(r'^Provides-Extra: (.*)', metadata(wheel), re.M)
    assert {os.path.splitext(os.path.basename(path))[0]
            for path in glob.glob(os.path.join(ROOT, 'requirements', '*.txt'))} == set(extras)
    needed = {extra: {each.name for each in required if 'extra == "%s"' % extra in str(each.marker)}
              for extra in extras}
    assert needed == {extra: set(listed('requirements/%s.txt' % extra)) for extra in extras}
    assert {each.name for each in required if 'extra' not in str(each.marker)} == set(listed('requirements.txt'))


@pytest.mark.parametrize('python', ['3.7', '3.8', '3.9', '3.11'])
@pytest.mark.parametrize('machine', ['x86_64', 'aarch64'])
def test_nothing_replaces_the_tensorflow_of_a_host(wheel, python, machine):
    """Without an extra no package is required that belongs to TensorFlow, nor a version that one of them excludes."""
    required = [Requirement(line) for line in re.findall(r'^Requires-Dist: (.*)', metadata(wheel), re.M)]

    def asked(extra):
        environment = dict(python_version=python, platform_machine=machine, extra=extra)
        return {each.name: each for each in required if each.marker is None or each.marker.evaluate(environment)}
    assert not set(asked('')) & {'tensorflow', 'keras', 'tensorflow-estimator', 'tensorboard', 'protobuf', 'setuptools'}
    for version in ('1.18.5', '1.19.5', '1.24.3'):   # NumPy beside TensorFlow 1.15, 2.6, 2.13
        assert version in asked('')['numpy'].specifier
    version = {'3.7': '1.15.5', '3.8': '2.6.5'}.get(python, '2.15.1')
    if machine == 'aarch64' and version != '2.15.1':
        assert 'tensorflow' not in asked('tf')   # no package index has it
    else:
        assert version in asked('tf')['tensorflow'].specifier


def test_newer_pythons_are_refused_by_their_version(wheel):
    allowed = SpecifierSet(re.search('^Requires-Python: (.*)', metadata(wheel), re.M).group(1))
    versions = ('3.6.15', '3.7.5', '3.8.18', '3.11.9', '3.12.0', '3.13.1')
    assert [version for version in versions if version in allowed] == ['3.7.5', '3.8.18', '3.11.9']


@pytest.fixture
def dry_run(wheel, tmp_path):
    """Runs pip install --dry-run on a host that has stand-ins of all requirements, and of the named distributions."""
    site = tmp_path / 'site'
    site.mkdir()
    (site / 'pip').symlink_to(os.path.dirname(pip.__file__))
    for name in listed('requirements.txt'):
        distribution(site, name, '1.19.5' if name == 'numpy' else '9.0')

    def run(extra='', **hosts):
        for name, version in hosts.items():
            distribution(site, name.replace('_', '-'), version)
        return subprocess.run(
            [sys.executable, '-S', '-m', 'pip', 'install', '--dry-run', '--no-index', '--disable-pip-version-check',
             '--break-system-packages', wheel.filename + extra],
            env=dict(PYTHONPATH=str(site), PATH=os.environ['PATH']),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
    return run


def distribution(site, name, version):
    folder = site / ('%s-%s.dist-info' % (name.replace('-', '_'), version))
    folder.mkdir()
    (folder / 'METADATA').write_text('Metadata-Version: 2.1\nName: %s\nVersion: %s\n' % (name, version))
    (folder / 'RECORD').write_text('')
    (folder / 'INSTALLER').write_text('pip\n')


@pytest.mark.parametrize('hosts', [{}, dict(tensorflow='1.15.0'), dict(tensorflow_cpu='1.15.0'),
                                   dict(tensorflow='2.6.5'), dict(tensorflow_cpu_aws='2.13.1')])
def test_pip_installs_only_this_project_beside_a_tensorflow(dry_run, hosts):
    done = dry_run(**hosts)
    assert done.returncode == 0, done.stderr
    assert re.findall('Would install (.*)', done.stdout) == ['edvr-' + edvr.__version__]


def test_the_extra_asks_for_tensorflow(dry_run):
    """Without an index pip finds none, so it must fail, unless the version is there."""
    version = '1.15.5' if sys.version_info < (3, 8) else '2.15.1'
    others = dict(tensorboard='2.6', setuptools='68.0.0', protobuf='3.20.3')
    done = dry_run('[tf]', tensorflow='1.15.0', **others)
    assert done.returncode == 1
    check_facts(done.stderr, 'tensorflow==%s' % version)


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
