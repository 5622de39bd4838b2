"""Start and end of every program: help, wrong flags, errors, Ctrl-C."""
import os
import signal
import subprocess
import sys

import preloaded
import pytest
from conftest import ROOT

PROGRAM = '''"""Does little."""
import atexit, os, signal
from absl import flags
from data_tools.base import errors, program
flags.DEFINE_integer('steps', 3, 'how many', lower_bound=1)
flags.DEFINE_string('place', None, 'where to')
flags.DEFINE_bool('fast', False, 'hurry')
flags.DEFINE_enum('colour', 'red', ['red', 'blue'], 'of it')
flags.mark_flag_as_required('place')
def main():
    if flags.FLAGS.steps == 7:
        raise errors.UserError('7 is taken')
    if flags.FLAGS.steps == 8:
        raise KeyboardInterrupt
    if flags.FLAGS.steps == 9:
        atexit.register(os.kill, os.getpid(), signal.SIGINT)
    return flags.FLAGS.steps
program.run(main)
'''


@pytest.fixture(scope='module')
def run_text(tmp_path_factory):
    """Runs PROGRAM."""
    path = tmp_path_factory.mktemp('program') / 'program.py'
    path.write_text(PROGRAM)
    return lambda *arguments: preloaded.run(str(path), arguments, 60, env=dict(os.environ, PYTHONPATH=ROOT))


@pytest.mark.parametrize('argument, text', [
    ('--nonsense=1', "error: Unknown command line flag 'nonsense'; see --help"),
    ('--step=1', "error: Unknown command line flag 'step'. Did you mean: steps; see --help"),
    ('--steps=1e3', 'error: flag --steps=1e3: a positive integer expected; see --help'),
    ('--steps=0', 'error: flag --steps=0: 0 is not a positive integer; see --help'),
    ('--fast=perhaps', 'error: flag --fast=perhaps: true or false expected; see --help'),
    ('--colour=green', 'error: flag --colour=green: value should be one of <red|blue>; see --help'),
    ('--steps', 'error: Missing value for flag --steps; see --help'),
    ('place', "error: unexpected argument 'place': every option is a --flag=value; see --help"),
    ('--steps=7', 'error: 7 is taken')])
def test_user_errors_are_one_line_and_exit_code_1(run_text, argument, text):
    result = run_text('--place=here', argument)
    assert (result.returncode, result.stdout, result.stderr) == (1, '', text + '\n')


def test_required_flag_that_is_not_given_is_named(run_text):
    result = run_text()
    assert (result.returncode, result.stderr) == (1, 'error: --place is not given; see --help\n')


def test_missing_flagfile_is_named(run_text):
    result = run_text('--place=here', '--flagfile=nowhere.cfg')
    assert result.returncode == 1 and result.stderr.count('\n') == 1
    assert result.stderr.startswith('error: ') and 'nowhere.cfg' in result.stderr


@pytest.mark.parametrize('argument, code', [('--steps=5', 5), ('--steps=8', 130)])
def test_exit_codes(run_text, argument, code):
    assert run_text('--place=here', argument).returncode == code


def test_an_interrupt_of_the_exit_handlers_is_no_traceback(run_text):
    result = run_text('--place=here', '--steps=9')
    assert (result.returncode, result.stderr) == (-signal.SIGINT, '')


@pytest.mark.parametrize('argument', ['--help', '-h', '--helpfull'])
def test_help_shows_docstring_and_flags_and_succeeds(run_text, argument):
    result = run_text('--place=here', '--steps=nonsense', argument)
    assert result.returncode == 0 and not result.stderr
    assert result.stdout.startswith('Does little.\n') and '  --steps: how many [3]\n' in result.stdout
    assert ROOT not in result.stdout


@pytest.mark.parametrize('module', ['data_tools.reds.unzip', 'edvr.flags', 'edvr.training.rundir.run_state'])
def test_a_module_that_is_no_program_is_an_error(module):
    done = subprocess.run([sys.executable, '-m', module], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          universal_newlines=True)
    assert done.returncode == 1 and done.stdout == ''
    package = module.split('.')[0]
    assert done.stderr.startswith('error: %s is a module, not a program; the programs of %s are ' % (module, package))
    assert ('make_tfrecords' if package == 'data_tools' else 'train') in done.stderr
