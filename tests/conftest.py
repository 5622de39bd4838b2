"""Shared by all tests: the packages of the repository on the path, and fixtures that run programs."""
import gc
import os
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FAULTS = os.path.join(ROOT, 'tests', 'faults')
for folder in (ROOT, FAULTS):
    if folder not in sys.path:
        sys.path.insert(0, folder)

import campaign  # noqa: E402 (needs the path)
import preloaded  # noqa: E402


def pytest_addoption(parser):
    parser.addoption('--faults', action='store_true', help='try all faults of tests/faults, not a share')
    parser.addoption('--long_run', type=float, default=1., help='with --faults: how much of the long run, an hour of '
                     'training and 20,000 frames, to do; 0.1 for a tenth')


def pytest_collection_modifyitems(config, items):
    """Without --faults the tests marked `faults` are skipped."""
    preloaded.skip_deprecation_checks()
    gc.freeze()   # what is loaded stays: each collection while graphs are built would look through it
    if config.getoption('--faults'):
        return
    left_out = [item for item in items if item.get_closest_marker('faults')]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def pytest_terminal_summary(terminalreporter):
    reports = [report for group in terminalreporter.stats.values() for report in group]
    lines = campaign.table(reports)
    if lines:
        terminalreporter.section('fault campaign')
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture
def run_program():
    """Runs `python -m MODULE ARGS` in a separate process; returns the result of `preloaded.run`."""
    def run(module, *arguments, env=None, timeout=300, cwd=ROOT):
        path = os.pathsep.join(filter(None, [(env or {}).get('PYTHONPATH'), ROOT]))
        return preloaded.run(module, arguments, timeout, cwd=cwd,
                             env=dict(os.environ, **dict(env or {}, PYTHONPATH=path)))
    return run


@pytest.fixture(name='campaign')
def campaign_of_a_test(request):
    """A campaign.Campaign whose defects fail the test."""
    result = campaign.Campaign(request.node.name, request.config.getoption('--faults'))
    yield result
    result.finish(request.node)


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    """The prefix of the checkpoint of a tiny network, for the tests of a module."""
    from helpers import tiny_checkpoint
    return tiny_checkpoint(tmp_path_factory.mktemp('train'))


@pytest.fixture(scope='module')
def restorer(checkpoint):
    """A Restorer of that network."""
    from edvr.restore.restorer import Restorer
    with Restorer(checkpoint) as restorer:
        yield restorer
