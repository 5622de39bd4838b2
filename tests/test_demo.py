"""The demonstration skips, repeats, refuses and reports its programs. The programs here are tiny."""
import os
import signal

import numpy as np
import pytest
from facts import raises_facts

from data_tools.base.errors import UserError
from data_tools.base.files import read_json, write_json
from data_tools.media.images import write_png
from edvr import demo
from edvr.config.demo import DemoConfig
from edvr.demonstration import pipeline, steps
from edvr.demonstration import report as reporting

STEP = '''
import os, sys
output, text = sys.argv[1:]
os.makedirs(output, exist_ok=True)
open(os.path.join(output, text), 'w').close()
print('wrote', text)
'''
FAILS = '''
import os
print('about to fail')
raise SystemExit(0 if os.path.exists('repaired') else 3)
'''
INTERRUPTED = '''
import os, signal, sys
def last_word(number, frame):
    print('saved, got', number, flush=True)
    sys.exit(128 + number)
signal.signal(int(sys.argv[1]), last_word)
os.kill(os.getppid(), int(sys.argv[1]))
signal.pause()
'''


@pytest.fixture
def out(tmp_path, monkeypatch):
    """A folder to demonstrate in; the modules of the steps can be started by their names."""
    for name, text in (('step', STEP), ('fails', FAILS), ('interrupted', INTERRUPTED)):
        (tmp_path / (name + '.py')).write_text(text)
    monkeypatch.setenv('PYTHONPATH', str(tmp_path))
    monkeypatch.chdir(str(tmp_path))
    return str(tmp_path / 'out')


@pytest.fixture
def run(out, monkeypatch, capfd):
    """Runs the whole program on three steps; returns {name: 'ran' or 'done before'}."""
    def run(second='one', fresh=False):
        programs = [pipeline.Step(name, 'step', [os.path.join(out, name), text], [name])
                    for name, text in (('a', 'one'), ('b', second), ('c', 'one'))]
        monkeypatch.setattr(steps, 'steps', lambda *args: programs)
        monkeypatch.setattr(demo.flags, 'build', lambda cls: DemoConfig(output_dir=out, fresh=fresh))
        monkeypatch.setattr(reporting, 'report', lambda folder, seconds: print('reported', seconds > 0))
        demo.main()
        output = capfd.readouterr().out
        assert output.endswith('reported True\n')
        return ['done before' if '== %s: done before' % name in output else 'ran' for name in 'abc']
    return run


def test_what_is_done_is_skipped_and_a_change_renews_what_follows(out, run):
    assert run() == ['ran'] * 3
    assert run() == ['done before'] * 3
    assert run('two') == ['done before', 'ran', 'ran']
    assert os.listdir(os.path.join(out, 'b')) == ['two']   # and not also what the command before has left
    assert run('two') == ['done before'] * 3
    with open(os.path.join(out, 'b.log')) as file:
        assert file.read() == 'wrote one\nwrote two\n'
    assert run('two', fresh=True) == ['ran'] * 3


def test_what_follows_a_failed_step_does_not_count_any_more(out, run):
    run()
    with pytest.raises(UserError, match='exit code'):
        run('no/such/folder')
    assert sorted(os.listdir(os.path.join(out, pipeline.MARK))) == ['a'] and not os.path.exists(os.path.join(out, 'c'))


def test_a_step_that_fails_is_reported_and_run_again(out, capfd):
    pipeline.prepare(out, fresh=False)
    step = pipeline.Step('b', 'fails', [])
    with raises_facts(UserError, 'fails', 'exit code 3', 'b.log'):
        pipeline.run(out, [step])
    assert 'about to fail' in capfd.readouterr().out
    open('repaired', 'w').close()
    assert pipeline.run(out, [step]) == pipeline.run(out, [step]) > 0
    assert capfd.readouterr().out.count('b: done before') == 1


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_signals_are_forwarded_and_the_exit_code_of_the_program_is_returned(out, number, capfd):
    pipeline.prepare(out, fresh=False)
    before = signal.getsignal(number)
    with pytest.raises(UserError, match='exit code %d' % (128 + number)):
        pipeline.run_step(out, pipeline.Step('b', 'interrupted', [str(int(number))]))
    assert 'saved, got %d' % number in capfd.readouterr().out
    assert signal.getsignal(number) == before


@pytest.mark.parametrize('fresh', [False, True])
def test_a_foreign_folder_is_refused(tmp_path, fresh):
    (tmp_path / 'thesis.tex').write_text('years of work')
    with raises_facts(UserError, 'holds files', 'demonstration'):
        pipeline.prepare(str(tmp_path), fresh)
    assert os.listdir(str(tmp_path)) == ['thesis.tex']


def test_report(tmp_path, capsys):
    out = str(tmp_path)
    write_json(os.path.join(out, 'evaluation.json'), dict(bicubic_psnr=24., edvr_psnr=25.))
    write_json(os.path.join(out, 'EDVR.json'), dict(verification=dict(max_abs_diff=1e-7)))
    (tmp_path / 'train.log').write_text('Step:20, fps:5.00, x\nStep:40, fps:7.00, x\nStep:60, fps:6.00, x\n')
    frame = np.zeros((8, 8, 3), np.uint8)
    for folder, value in (('restored', 100), ('restored_by_graph', 101)):
        (tmp_path / folder).mkdir()
        write_png(os.path.join(out, folder, '0.png'), frame + value)
    reporting.report(out, 12.34)
    summary = read_json(os.path.join(out, 'summary.json'))
    assert (summary['bicubic_psnr'], summary['edvr_psnr'], summary['samples_per_s']) == (24, 25, 6)
    assert (summary['export_max_abs_diff'], summary['restored_max_gray_levels_diff']) == (1e-7, 1)
    assert summary['seconds'] == 12.3 and 'tensorboard --logdir=' in capsys.readouterr().out
    write_png(os.path.join(out, 'restored_by_graph', '0.png'), frame + 102)
    with raises_facts(UserError, 'checkpoint', '2 gray levels'):
        reporting.report(out, 1)
    write_png(os.path.join(out, 'restored_by_graph', '1.png'), frame)
    with pytest.raises(UserError, match='do not hold the same frames'):
        reporting.report(out, 1)
