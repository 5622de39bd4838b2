"""The ranks of a host: who gets which environment, and that they live and end together."""
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT
from npu_fixtures import no_job  # noqa: F401 fixture

from data_tools.base.errors import UserError
from edvr.config import ConfigError
from edvr.config.launch import LaunchConfig
from edvr.runtime.ranks import launch, processes, rank_table

TABLE_8 = os.path.join(ROOT, 'scripts', 'rank_tables', '8p.json')


@pytest.fixture(autouse=True)
def environment(no_job):  # noqa: F811
    pass


def plan(**options):
    return launch.plan(LaunchConfig(**options))


# who gets what

def test_one_npu():
    (rank, environment), = plan(device_ids=(5,))
    assert rank == 0
    assert environment == dict(JOB_ID='edvr', RANK_SIZE='1', RANK_ID='0', DEVICE_ID='5', RANK_TABLE_FILE=None,
                               POD_NAME=None, ASCEND_DEVICE_ID=None)


def test_eight_npus(monkeypatch):
    monkeypatch.setenv('JOB_ID', '77')
    processes_ = plan(rank_table=TABLE_8)
    assert [(rank, e['RANK_ID'], e['DEVICE_ID']) for rank, e in processes_] == [
        (index, str(index), str(index)) for index in range(8)]
    assert {(e['JOB_ID'], e['RANK_SIZE'], e['RANK_TABLE_FILE']) for _, e in processes_} == {('77', '8', TABLE_8)}


def test_part_of_a_table(tmp_path):
    path = tmp_path / 'table.json'
    path.write_text(rank_table.to_json([
        rank_table.Rank(rank, rank % 2 + 2, '192.168.1.%d' % rank, '10.0.0.%d' % (rank // 2)) for rank in range(4)]))
    chosen = plan(rank_table=str(path), server_id='10.0.0.1')
    assert [(rank, e['DEVICE_ID'], e['RANK_SIZE']) for rank, e in chosen] == [(2, '2', '4'), (3, '3', '4')]
    assert [rank for rank, _ in plan(rank_table=str(path), server_id='10.0.0.1', device_ids=(3,))] == [3]
    for options, text in ((dict(), 'has the servers 10.0.0.0, 10.0.0.1'),
                          (dict(server_id='10.0.0.9'), 'it must be the one that is this host'),
                          (dict(server_id='10.0.0.1', device_ids=(0,)), 'device 0 is not in the rank table'),
                          (dict(server_id='10.0.0.1', ranks=8), '--ranks=8, but the rank table')):
        with pytest.raises(UserError, match=text):
            plan(rank_table=str(path), **options)


def test_ranks_on_a_cpu():
    processes_ = plan(device='cpu', ranks=3)
    clusters = [json.loads(environment['TF_CONFIG']) for _, environment in processes_]
    assert [c['task'] for c in clusters] == [{'type': 'worker', 'index': index} for index in range(3)]
    addresses = clusters[0]['cluster']['worker']
    assert len(set(addresses)) == 3 and all(c['cluster'] == clusters[0]['cluster'] for c in clusters)
    assert plan(device='cpu')[0].environment == {'TF_CONFIG': None}


def test_gpus_of_the_second_host():
    processes_ = plan(device='gpu', addresses=('a:1', 'b:1', 'b:2'), first_rank=1, device_ids=(4, 6))
    assert [(rank, e['CUDA_VISIBLE_DEVICES'], json.loads(e['TF_CONFIG'])['task']['index'])
            for rank, e in processes_] == [(1, '4', 1), (2, '6', 2)]
    with pytest.raises(UserError, match='do not fit 3 --addresses'):
        plan(device='gpu', addresses=('a:1', 'b:1', 'b:2'), first_rank=2, ranks=2)


@pytest.mark.parametrize('options, text', [
    (dict(addresses=('a:1',)), 'addresses is for gpu and cpu'),
    (dict(device='cpu', rank_table='x'), 'rank_table is for'),
    (dict(device='cpu', device_ids=(1,)), 'use --ranks'), (dict(server_id='x'), 'without --rank_table'),
    (dict(device='cpu', first_rank=1), 'without --addresses'), (dict(ranks=8), '8 NPUs exchange gradients only with'),
    (dict(ranks=3, device_ids=(1, 2), rank_table='x'), 'ranks is 3, but device_ids names 2 devices')])
def test_options_that_do_not_fit(options, text):
    with pytest.raises(ConfigError, match=text):
        LaunchConfig(**options)


def test_every_process_has_its_own_cores(monkeypatch):
    monkeypatch.setattr(os, 'sched_getaffinity', lambda pid: set(range(10)))
    assert processes.core_shares(4) == [{0, 1}, {2, 3}, {4, 5}, {6, 7}]
    assert processes.core_shares(1) == [None] and processes.core_shares(11) == [None] * 11


# living and ending together

def run(tmp_path, code, count=2, grace=10.):
    environments = {rank: dict(RANK=str(rank), JOB_ID=None) for rank in range(count)}
    return processes.run_together([sys.executable, '-c', code], environments, str(tmp_path / 'logs'), grace)


def log(tmp_path, rank):
    return (tmp_path / 'logs' / ('rank_%d.log' % rank)).read_text()


def test_all_end_well(tmp_path, capfd, monkeypatch):
    monkeypatch.setenv('JOB_ID', 'must go')
    code = 'import os; print("rank", os.environ["RANK"], os.environ.get("JOB_ID"))'
    assert run(tmp_path, code) == 0
    assert [log(tmp_path, rank) for rank in (0, 1)] == ['rank 0 None\n', 'rank 1 None\n']
    assert capfd.readouterr().out == 'rank 0 None\n'   # the first shows here as well
    run(tmp_path, code)
    assert log(tmp_path, 1) == 'rank 1 None\n' * 2     # a resumed run does not lose the log


def test_one_that_fails_stops_the_job(tmp_path, capfd):
    began = time.monotonic()
    code = run(tmp_path, 'import os, sys, time\nif os.environ["RANK"] == "2": sys.exit("no more memory")\n'
               'time.sleep(99)', count=3)
    assert code == 1 and time.monotonic() - began < 60
    error = capfd.readouterr().err
    assert 'error: rank 2 ended with exit code 1; the end of %s' % (tmp_path / 'logs' / 'rank_2.log') in error
    assert '| no more memory' in error


def test_one_that_is_killed_stops_the_job(tmp_path, capfd):
    code = run(tmp_path, 'import os, time\nif os.environ["RANK"] == "1": os.kill(os.getpid(), 9)\ntime.sleep(99)')
    assert code == 128 + signal.SIGKILL and 'rank 1 was killed by SIGKILL' in capfd.readouterr().err


def test_children_of_a_rank_end_too(tmp_path):
    marker = tmp_path / 'pid'
    code = ('import os, subprocess, sys, time\nif os.environ["RANK"] == "1":\n'
            '    child = subprocess.Popen(["sleep", "99"]); open(%r, "w").write(str(child.pid)); sys.exit(3)\n'
            'time.sleep(99)' % str(marker))
    assert run(tmp_path, code) == 3
    assert not _alive(int(marker.read_text()))


def _alive(pid):
    try:
        with open('/proc/%d/stat' % pid) as file:
            return file.read().split()[2] != 'Z'
    except FileNotFoundError:
        return False


STUB = """
import os, signal, sys, time
def save(signum, frame):
    print('saved', flush=True)
    sys.exit(143)
if os.environ['RANK_ID'] == '0':
    signal.signal(signal.SIGTERM, save)
else:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)   # waits for rank 0, as in a collective
print('begun', sys.argv[1:], flush=True)
time.sleep(99)
"""


@pytest.mark.parametrize('signum', [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_lets_rank_0_save_and_ends_all(tmp_path, signum):
    (tmp_path / 'stub.py').write_text(STUB)
    program = ('import sys; from edvr.runtime.ranks import processes; processes._DEATH_GRACE = .5\n'
               'ranks = {0: {"RANK_ID": "0"}, 1: {"RANK_ID": "1"}}\n'
               'sys.exit(processes.run_together([sys.executable, "stub.py"], ranks, "logs", 20.))')
    job = subprocess.Popen([sys.executable, '-c', program], cwd=str(tmp_path),
                           env=dict(os.environ, PYTHONPATH=ROOT), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                           universal_newlines=True)
    try:
        assert job.stdout.readline() == 'begun []\n'
        deadline = time.monotonic() + 30
        other = tmp_path / 'logs' / 'rank_1.log'
        while not (other.exists() and 'begun' in other.read_text()) and time.monotonic() < deadline:
            time.sleep(.05)
        job.send_signal(signum)
        out, err = job.communicate(timeout=60)
    finally:
        job.kill()
    assert job.returncode == 128 + signum
    assert out == 'saved\n' and 'stopping: rank 0 saves' in err


def test_program(run_program, tmp_path):
    (tmp_path / 'some_program.py').write_text(
        'import os, sys\nprint(sys.argv[1:], os.environ["TF_CONFIG"])\nsys.exit(int(sys.argv[1][-1]))')
    options = ['--device=cpu', '--ranks=2', '--program=some_program', '--logs=%s' % (tmp_path / 'logs')]
    done = run_program('edvr.launch', *(options + ['--', '--code=0', '--steps=3']),
                       env={'PYTHONPATH': str(tmp_path)})
    assert done.returncode == 0, done.stderr
    assert "['--code=0', '--steps=3', '--device=cpu']" in log(tmp_path, 1) and '"index": 1' in log(tmp_path, 1)
    done = run_program('edvr.launch', *(options + ['--', '--code=7']), env={'PYTHONPATH': str(tmp_path)})
    assert done.returncode == 7 and 'ended with exit code 7' in done.stderr


def test_program_says_what_is_wrong(run_program):
    done = run_program('edvr.launch', '--ranks=8', '--', '--steps=3')
    assert done.returncode == 1
    assert 'error: 8 NPUs exchange gradients only with a --rank_table, such as scripts/' in done.stderr


# the scripts

@pytest.fixture
def script(tmp_path):
    """Runs one of scripts/ with a `python` that says what it was called with; returns (exit code, its arguments)."""
    python = tmp_path / 'python'
    python.write_text('#!/bin/sh\nfor argument; do echo "$argument"; done\n')
    python.chmod(0o755)

    def run_script(name, *arguments, **environment):
        done = subprocess.run(
            ['bash', os.path.join(ROOT, 'scripts', name)] + list(arguments), cwd=str(tmp_path), stdout=subprocess.PIPE,
            universal_newlines=True, env=dict(os.environ, PYTHON=str(python), **environment))
        return done.returncode, done.stdout.replace(ROOT + os.sep, '').split()
    return run_script


def test_one_device_script(script):
    assert script('run_1p_train.sh', '3', '1', '--model_dir=run') == (0, [
        '-m', 'edvr.launch', '--device=npu', '--device_ids=3', '--logs=logs', '--',
        '--flagfile=flags/1p.cfg', '--model_dir=run'])
    assert script('run_1p_train.sh', FLAGFILE='mine.cfg', LOGS='here')[1][3:] == [
        '--device_ids=0', '--logs=here', '--', '--flagfile=mine.cfg']


def test_one_rank_of_a_job_script(script):
    assert script('run_1p_train.sh', '1', '2')[1][2:] == [
        '--device=npu', '--device_ids=1', '--logs=logs', '--rank_table=scripts/rank_tables/2p.json', '--server_id=',
        '--', '--flagfile=flags/8p.cfg']


def test_eight_devices_script(script):
    assert script('run_8p_train.sh', '--steps=5') == (0, [
        '-m', 'edvr.launch', '--device=npu', '--rank_table=scripts/rank_tables/8p.json', '--server_id=',
        '--logs=logs', '--', '--flagfile=flags/8p.cfg', '--steps=5'])
    assert '--rank_table=mine.json' in script('run_8p_train.sh', RANK_TABLE_FILE='mine.json', SERVER_ID='10.0.0.1')[1]


def test_restoring_scripts(script):
    """DEVICE_ID CHECKPOINT [FLAGS...], or CHECKPOINT [FLAGS...]; paths as they are given."""
    assert script('run_evaluation.sh', '0', 'run', '--nossim', DEVICE='cpu', DATA_DIR='clips') == (0, [
        '-m', 'edvr.evaluate', '--device=cpu', '--checkpoint=run', '--data_dir=clips', '--clips=REDS4', '--nossim'])
    assert script('run_inference.sh', '0', 'run', DEVICE='npu', INPUT='a.mp4', OUTPUT='b.mp4') == (0, [
        '-m', 'edvr.infer', '--device=npu', '--checkpoint=run', '--input=a.mp4', '--output=b.mp4'])
    assert script('run_export.sh', 'run', '--height=64') == (0, [
        '-m', 'edvr.export', '--checkpoint=run', '--output=EDVR.pb', '--height=64'])
    assert script('run_evaluation.sh', '0')[0] == script('run_export.sh')[0] == 2
