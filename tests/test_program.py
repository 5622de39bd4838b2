"""Start and end of every program: help, wrong flags, errors, Ctrl-C."""
import itertools
import os
import signal
import subprocess
import sys
import tempfile

import preloaded
import pytest
from conftest import ROOT
from facts import check_error, check_facts
from test_packaging import programs
from tiny_training import make_set

import edvr

PROGRAMS = programs()

PROGRAM = '''"""Does little."""
import atexit, errno, os, signal
import tqdm
from absl import flags
from data_tools.base import errors, program
flags.DEFINE_integer('steps', 3, 'how many', lower_bound=1)
flags.DEFINE_string('place', None, 'where to')
flags.DEFINE_bool('fast', False, 'hurry')
flags.DEFINE_enum('colour', 'red', ['red', 'blue'], 'of it')
flags.mark_flag_as_required('place')
kept = []
def main():
    if flags.FLAGS.steps == 7:
        raise errors.UserError('7 is taken')
    if flags.FLAGS.steps == 8:
        raise KeyboardInterrupt
    if flags.FLAGS.steps == 10:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)   # is ignored, so that this block ends
            print('cleaned')
    if flags.FLAGS.steps == 11:
        os.kill(os.getpid(), signal.SIGHUP)
    if flags.FLAGS.steps == 12:
        for index in range(3):
            print('line', index, flush=True)
            list(tqdm.tqdm(range(3), desc='bar', mininterval=0))
        with open(flags.FLAGS.place, 'x'):
            for descriptor in (1, 2):   # as libraries in C do
                os.write(descriptor, b'written\\n')
        print('more than a buffer ' * 9999)
        return 4
    if flags.FLAGS.steps == 13:
        print('\\x1b[2Jnote\\x07', 'caf\\xe9', '\\x9b1m', '\\udcff', flush=True)
        tqdm.tqdm.write('clip\\x1b[0m\\rname')
        list(tqdm.tqdm(range(3), desc='x\\x1b[1my', mininterval=0))
        raise errors.UserError('the server says \\x1b]0;title\\x07')
    if flags.FLAGS.steps == 14:
        while True:
            kept.append(open(os.devnull))
    if flags.FLAGS.steps == 15:
        kept.append(bytearray(2 ** 60))
    if flags.FLAGS.steps == 16:
        from data_tools.base import tensorflow_package
        tensorflow_package.load()
    if flags.FLAGS.steps == 17:
        raise RuntimeError('a defect of the program')
    if flags.FLAGS.steps == 18:
        raise RuntimeError("can't start new thread")
    if flags.FLAGS.steps == 19:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    if flags.FLAGS.steps == 20:
        raise OSError(errno.ENFILE, os.strerror(errno.ENFILE))
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


@pytest.mark.parametrize('argument, facts', [
    ('--nonsense=1', ["'nonsense'"]),
    ('--step=1', ["'step'", 'Did you mean: steps']),
    ('--steps=1e3', ['--steps=1e3', 'positive integer']),
    ('--steps=0', ['--steps=0', 'positive integer']),
    ('--fast=perhaps', ['--fast=perhaps', 'true or false']),
    ('--colour=green', ['--colour=green', '<red|blue>']),
    ('--steps', ['Missing value', '--steps']),
    ('place', ["'place'", '--flag=value'])])
def test_wrong_arguments_are_one_line_and_exit_code_1(run_text, argument, facts):
    result = run_text('--place=here', argument)
    check_error(result, '--help', *facts)
    assert (result.stdout, result.stderr.count('\n')) == ('', 1)


def test_user_errors_are_one_line_and_exit_code_1(run_text):
    result = run_text('--place=here', '--steps=7')
    assert (result.returncode, result.stdout, result.stderr) == (1, '', 'error: 7 is taken\n')


def test_required_flag_that_is_not_given_is_named(run_text):
    check_error(run_text(), '--place', 'not given', '--help')


def test_missing_flagfile_is_named(run_text):
    result = run_text('--place=here', '--flagfile=nowhere.cfg')
    check_error(result, 'nowhere.cfg')
    assert result.stderr.count('\n') == 1


@pytest.mark.parametrize('argument, code', [('--steps=5', 5), ('--steps=8', 130)])
def test_exit_codes(run_text, argument, code):
    assert run_text('--place=here', argument).returncode == code


def test_sigterm_ends_blocks_in_order(run_text):
    result = run_text('--place=here', '--steps=10')
    assert (result.returncode, result.stdout, result.stderr) == (143, 'cleaned\n', 'interrupted\n')


def test_sighup_ends_a_program_as_sigterm_does(run_text):
    result = run_text('--place=here', '--steps=11')
    assert (result.returncode, result.stderr) == (129, 'interrupted\n')


def test_control_characters_are_shown_and_not_sent(run_text):
    result = run_text('--place=here', '--steps=13')
    assert result.returncode == 1 and 'Traceback' not in result.stderr
    assert '\\x1b[2Jnote\\x07 caf\xe9 \\x9b1m \\udcff\n' in result.stdout
    assert 'clip\\x1b[0m\\rname\n' in result.stdout
    assert 'x\\x1b[1my: 100%' in result.stderr
    assert result.stderr.endswith('error: the server says \\x1b]0;title\\x07\n')
    assert not set('\x1b\x07\x9b') & set(result.stdout + result.stderr)


def full():
    """Opens a device that is always full."""
    return open('/dev/full', 'wb')


@pytest.mark.parametrize('opened', [preloaded.unread, full])
@pytest.mark.parametrize('which', ['stdout', 'stderr', 'both'])
def test_output_that_nobody_reads_does_not_end_the_work(tmp_path, opened, which):
    (tmp_path / 'program.py').write_text(PROGRAM)
    with opened() as lost, open(str(tmp_path / 'kept'), 'w+b') as kept:
        done = subprocess.run([sys.executable, str(tmp_path / 'program.py'), '--place=done', '--steps=12'],
                              cwd=str(tmp_path), env=dict(os.environ, PYTHONPATH=ROOT),
                              stdout=kept if which == 'stderr' else lost, stderr=kept if which == 'stdout' else lost)
        assert done.returncode == 4 and (tmp_path / 'done').exists()
        kept.seek(0)
        text = kept.read().decode()
    assert 'Traceback' not in text and 'Error' not in text
    assert {'stdout': 'bar: 100%', 'stderr': 'line 2', 'both': ''}[which] in text


@pytest.mark.parametrize('closed', ['>&-', '2>&-', '<&-', '<&- >&- 2>&-', '1</dev/null 2</dev/null'])
def test_closed_descriptors_make_no_difference(tmp_path, closed):
    (tmp_path / 'program.py').write_text(PROGRAM)
    done = subprocess.run('%s program.py --place=done --steps=12 %s' % (sys.executable, closed), shell=True,
                          cwd=str(tmp_path), env=dict(os.environ, PYTHONPATH=ROOT))
    assert done.returncode == 4
    assert (tmp_path / 'done').read_bytes() == b''   # nothing printed has gone to a file that took the descriptor


@pytest.mark.parametrize('argument', ['--help', '--helpfull', '--version', '--nonsense'])
def test_help_into_a_closed_pipe_is_no_traceback(argument):
    with preloaded.unread() as lost:
        done = subprocess.run([sys.executable, '-m', 'edvr.train', argument], cwd=ROOT, stdout=lost,
                              stderr=subprocess.PIPE, universal_newlines=True)
    assert done.returncode == (argument == '--nonsense') and done.stderr.count('\n') == done.returncode


@pytest.mark.parametrize('limit, steps, facts', [
    ('-n 40', 14, ['too many open files', 'ulimit -n']), ('-n 40', 15, ['out of memory']),
    ('-v 1500000', 16, ['1.43 GiB', 'ulimit -v', 'TensorFlow', '2 GiB'])])
def test_limits_of_the_system_are_one_line(tmp_path, limit, steps, facts):
    (tmp_path / 'program.py').write_text(PROGRAM)
    done = subprocess.run('ulimit %s; exec %s program.py --place=here --steps=%d' % (limit, sys.executable, steps),
                          shell=True, cwd=str(tmp_path), env=dict(os.environ, PYTHONPATH=ROOT),
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
    check_error(done, *facts)
    assert done.stderr.count('\n') == 1


@pytest.mark.parametrize('steps, facts', [(18, ['threads', 'ulimit -u']), (19, ['processes', 'ulimit -u']),
                                          (20, ['open files', 'this host'])])
def test_limits_that_root_does_not_have_are_one_line(run_text, steps, facts):
    done = run_text('--place=here', '--steps=%d' % steps)
    check_error(done, *facts)
    assert done.stderr.count('\n') == 1


def test_a_defect_of_a_program_keeps_its_traceback(run_text):
    done = run_text('--place=here', '--steps=17')
    assert done.returncode == 1 and 'Traceback' in done.stderr and 'a defect of the program' in done.stderr


def test_a_removed_working_folder_is_one_line(tmp_path):
    (tmp_path / 'program.py').write_text(PROGRAM)
    (tmp_path / 'gone').mkdir()
    done = subprocess.run('rmdir ../gone; exec %s %s --place=here' % (sys.executable, tmp_path / 'program.py'),
                          shell=True, cwd=str(tmp_path / 'gone'), env=dict(os.environ, PYTHONPATH=ROOT),
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
    check_error(done, 'current folder', 'removed')
    assert done.stderr.count('\n') == 1


def test_an_interrupt_of_the_exit_handlers_is_no_traceback(run_text):
    result = run_text('--place=here', '--steps=9')
    assert (result.returncode, result.stderr) == (-signal.SIGINT, '')


@pytest.mark.parametrize('argument', ['--help', '-h', '--helpfull'])
def test_help_shows_docstring_and_flags_and_succeeds(run_text, argument):
    result = run_text('--place=here', '--steps=nonsense', argument)
    assert result.returncode == 0 and not result.stderr
    assert result.stdout.startswith('Does little.\n') and '  --steps: how many [3]\n' in result.stdout
    assert ROOT not in result.stdout


# imports a program and runs it with each argument, in a forked process whose output goes to the file that comes after
EACH_ARGUMENT = '''
import atexit, importlib, os, runpy, sys
program, *rest = sys.argv[1:]
importlib.import_module(program)
def list_modules():
    sys.stderr.flush()   # its buffer, of Python 3.7, would come into the midst of a long list
    print(*sys.modules, flush=True)
for argument, path in zip(rest[::2], rest[1::2]):
    if not os.fork():
        with open(path, 'w') as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        atexit.register(list_modules)
        sys.argv[1:] = [argument]
        runpy.run_module(program, run_name='__main__', alter_sys=True)
        sys.exit()
    status = os.wait()[1]
    print(os.WEXITSTATUS(status) if os.WIFEXITED(status) else status, flush=True)   # else the next one has it, too
'''


def start_and_list(program, *arguments, cwd):
    """Runs a program with each argument alone: [(exit code, output, names of the modules that it loaded)]."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [os.path.join(folder, str(number)) for number in range(len(arguments))]
        done = subprocess.run([sys.executable, '-c', EACH_ARGUMENT, program, *itertools.chain(*zip(arguments, paths))],
                              cwd=str(cwd), check=True, stdout=subprocess.PIPE, universal_newlines=True,
                              env=dict(os.environ, PYTHONPATH=ROOT))
        results = []
        for path, code in zip(paths, done.stdout.split()):
            with open(path) as file:
                *lines, modules = file.read().splitlines()
            results.append((int(code), '\n'.join(lines), modules.split()))
    assert len(results) == len(arguments) and all('sys' in modules for _, _, modules in results)
    return results


@pytest.mark.parametrize('program', PROGRAMS)
def test_help_wrong_flags_and_the_configuration_load_no_tensorflow(program, tmp_path):
    cases = {'--help': ([0], 'every program:'), '--nonsense': ([1], "'nonsense'"),
             '--print_config': ([0, 1], ''),   # 1: an option without a default is not given
             '--version': ([0], 'edvr ' + edvr.__version__)}
    results = start_and_list(program, *cases, cwd=tmp_path)
    for (codes, text), (code, output, modules) in zip(cases.values(), results):
        assert code in codes and text in output and 'Traceback' not in output, output
        assert not {'tensorflow', 'tensorflow_core', 'torch', 'apache_beam'} & set(modules)
    assert os.listdir(str(tmp_path)) == []


@pytest.mark.parametrize('program, flag, name, data, facts', [
    ('edvr.infer', '--input=', 'a.mp4', b'hello\n', ['not a video', 'its content is text']),
    ('edvr.infer', '--output=', 'a.avi', b'', ['--output', '.mkv']),
    ('edvr.evaluate', '--data_dir=', 'a.mxv', b'', ['without the suffix of a video', '.mkv']),
    ('edvr.inspect_data', '--source=', 'a', None, ['no such file', 'give a video'])])
def test_a_file_that_cannot_be_used_is_an_error_before_tensorflow_is_loaded(tmp_path, program, flag, name, data, facts):
    if data is not None:
        (tmp_path / name).write_bytes(data)
    (code, output, modules), = start_and_list(program, flag + name, cwd=tmp_path)
    check_facts(output, name, *facts)
    assert code == 1 and not {'tensorflow', 'tensorflow_core'} & set(modules)


@pytest.mark.parametrize('program', PROGRAMS)
def test_a_program_starts_by_its_path(program, tmp_path):
    done = subprocess.run([sys.executable, os.path.join(ROOT, *program.split('.')) + '.py', '--version'],
                          cwd=str(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, 'edvr %s\n' % edvr.__version__, '')


def test_a_program_that_is_started_by_its_path_finds_the_real_libraries(tmp_path):
    """Rooms of `edvr` have the names of libraries, such as tensorboard."""
    done = subprocess.run([sys.executable, os.path.join(ROOT, 'edvr', 'train.py'), '--model_dir=run',
                           '--data_dir=%s' % make_set(tmp_path / 'set'), '--device=cpu', '--steps=1', '--batch_size=2',
                           '--num_frames=3', '--channels=8', '--deform_groups=2', '--num_extract_block=1',
                           '--num_reconstruct_block=1', '--patch_size=8', '--kernels=tf'],
                          cwd=str(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
    assert done.returncode == 0 and (tmp_path / 'run' / 'model.ckpt-1.index').exists(), done.stderr
