"""The options of Beam, and programs without Beam."""
import ast
import glob
import os
import re
import shlex
import subprocess
import sys
import threading
import types

import pytest
from conftest import ROOT
from facts import raises_facts

from data_tools.base import beam_options, beam_runner, processes
from data_tools.base.beam_config import RUNNERS, BeamConfig
from data_tools.base.config import ConfigError
from data_tools.base.errors import UserError
from data_tools.packing.config import PackConfig
from data_tools.packing.pack import pack_set
from edvr.config.infer import InferConfig
from edvr.config.restoration import RestoreConfig
from edvr.output.infer_job import run_with_beam


@pytest.fixture
def without_beam(monkeypatch):
    monkeypatch.setitem(sys.modules, 'apache_beam', None)


def test_without_beam_a_runner_is_refused_with_the_command_that_installs_it(without_beam, tmp_path):
    config = PackConfig(data_dir=str(tmp_path), output_dir=str(tmp_path / 'set'), runner='DirectRunner')
    with raises_facts(UserError, '--runner', 'Apache Beam', "pip install 'edvr[beam]'"):
        pack_set(config)
    with pytest.raises(UserError, match=r"pip install 'edvr\[beam\]'"):
        run_with_beam(RestoreConfig(), InferConfig(input='x', output='y', runner='FlinkRunner'))
    assert list(tmp_path.iterdir()) == []


def test_beam_is_imported_only_when_a_runner_is_given():
    """Only functions import the modules that need Beam when they are imported."""
    needs = {'apache_beam', 'data_tools.packing.beam_pool', 'edvr.output.beam_folders'}
    for path in glob.glob(os.path.join(ROOT, '[de]*', '**', '*.py'), recursive=True):
        module = os.path.relpath(path, ROOT)[:-len('.py')].replace(os.sep, '.')
        with open(path) as file:
            tree = ast.parse(file.read())
        names = set()
        for node in tree.body:   # of the module itself, not of its functions
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names |= {node.module} | {'%s.%s' % (node.module, alias.name) for alias in node.names}
        found = {name for name in names if name in needs or name.startswith('apache_beam.')}
        assert bool(found) == (module in needs), (module, found)


@pytest.mark.parametrize('values, text', [
    (dict(runner='StormRunner'), 'runner is .StormRunner.; it must be one of DirectRunner, FlinkRunner, '),
    (dict(runner='a module.Runner'), 'runner is .a module.Runner.; .* a class such as package.module.Runner'),
    (dict(runner='package..Runner'), 'runner is .package..Runner.; '),
    (dict(beam_options='--x=1'), 'beam_options are given without --runner'),
])
def test_wrong_runners(values, text):
    with pytest.raises(ConfigError, match=text):
        BeamConfig(**values)


def test_what_excludes_a_runner():
    with pytest.raises(ConfigError, match='stretch is 9 without --runner; '):
        InferConfig(input='x', output='y', stretch=9, crf=60, codec='libx264')
    with raises_facts(ConfigError, 'preview', 3, 'this machine'):
        InferConfig(input='x', output='y', preview=3, runner=RUNNERS[0])


@pytest.mark.parametrize('text, error', [
    ('--no_such_option=3', 'DirectRunner has no option --no_such_option=3'),
    ('word', 'DirectRunner has no option word'),
    ('--direct_num_workers=many', "--direct_num_workers.*invalid int value: 'many'"),
    ('--direct_running_mode="x', 'No closing quotation'),
    ('--runner=FlinkRunner', 'names a runner: give it as --runner=NAME instead'),
])
def test_wrong_options_of_beam(text, error):
    pytest.importorskip('apache_beam', reason='Apache Beam is not installed (scripts/test.sh --beam)')
    with pytest.raises(UserError, match=error):
        beam_options.parse(BeamConfig(runner='DirectRunner', beam_options=text))


@pytest.mark.parametrize('runner, facts', [
    ('no_such_module.Runner', ['no_such_module.Runner', 'No module named']),
    ('apache_beam.NoSuchRunner', ['apache_beam.NoSuchRunner', 'NoSuchRunner']),
    ('data_tools.base.beam_config.BeamConfig', ['no runner', 'apache_beam.runners.runner.PipelineRunner']),
    ('data_tools.base.files.make_dir', ['no runner', 'apache_beam.runners.runner.PipelineRunner'])])
def test_classes_that_are_no_runner(runner, facts):
    pytest.importorskip('apache_beam', reason='Apache Beam is not installed (scripts/test.sh --beam)')
    with raises_facts(UserError, '--runner=' + runner, *facts):
        beam_options.parse(BeamConfig(runner=runner))


def test_the_options_in_the_documents_are_options_of_this_beam():
    pytest.importorskip('apache_beam', reason='Apache Beam is not installed (scripts/test.sh --beam)')
    with open(os.path.join(ROOT, 'docs', 'clusters.md')) as file:
        found = re.findall(r'--runner=(\w+) +--beam_options="(.*?)"', file.read().replace('\\\n', ' '))
    assert {'FlinkRunner', 'PortableRunner', 'DataflowRunner'} <= {runner for runner, _ in found}
    for runner, text in found:
        if runner != 'DaskRunner':   # whose options come with Dask
            assert beam_options.unknown(shlex.split(text)) == [], runner


def test_a_runner_that_cannot_work_here_is_reported_in_one_line():
    pytest.importorskip('apache_beam', reason='Apache Beam is not installed (scripts/test.sh --beam)')
    config = BeamConfig(runner='PortableRunner', beam_options='--unknown_to_python=1')   # it needs a job_endpoint
    with pytest.raises(UserError, match=r'PortableRunner ended with .*job_endpoint') as caught:
        beam_runner.run(config, lambda pipeline: None, ('x', 'y'), 1, 'x', 'y')
    assert '\n' not in str(caught.value)


class _FakeResult:
    """A pipeline that runs until it is released, and counts in two steps."""

    def __init__(self):
        self.counted, self.released = 0, threading.Event()

    def run(self):
        return self

    def wait_until_finish(self):
        self.released.wait(30)

    def metrics(self):
        return self

    def query(self):
        names = [('packing', 'windows'), ('packing', 'windows'), ('other', 'windows')]
        return {'counters': [types.SimpleNamespace(
            key=types.SimpleNamespace(metric=types.SimpleNamespace(namespace=namespace, name=name)),
            committed=None, attempted=self.counted) for namespace, name in names]}


class _Bar:
    n = 0

    def update(self, count):
        self.n += count


def test_counters_of_all_steps_are_shown_while_a_pipeline_runs(monkeypatch):
    monkeypatch.setattr(beam_runner, '_PERIOD', 0.01)
    result, bar, seen = _FakeResult(), _Bar(), []

    def look(_):
        seen.append(bar.n)
        result.counted += 1
        if bar.n >= 6:
            result.released.set()
        return []
    monkeypatch.setattr(processes, 'descendants', look)
    beam_runner._follow(beam_runner._Running(result), ('packing', 'windows'), bar)
    assert seen == sorted(seen) and seen[-1] >= 6 and len(set(seen)) > 2


def test_a_pipeline_that_waits_for_a_killed_worker_is_given_up(monkeypatch):
    monkeypatch.setattr(beam_runner, '_PERIOD', 0.01)
    monkeypatch.setattr(beam_runner, '_PATIENCE', 0.05)
    alive = [[5, 6], [5, 6], [6]]
    monkeypatch.setattr(processes, 'descendants', lambda _: alive.pop(0) if len(alive) > 1 else alive[0])
    result = _FakeResult()
    with pytest.raises(beam_runner._LostWorkerError):
        beam_runner._follow(beam_runner._Running(result), ('packing', 'windows'), _Bar())
    result.released.set()


def test_processes_below_are_found_by_their_command_line_and_ended():
    child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)', 'mark-of-this-test'])
    try:
        assert processes.descendants('mark-of-this-test') == [child.pid]
        processes.kill([child.pid])
        assert child.wait() == -9 and processes.descendants('mark-of-this-test') == []
        processes.kill([child.pid])   # it has ended: nothing happens
    finally:
        child.kill()
