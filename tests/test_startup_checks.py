"""All problems before a run starts are reported together; each names the object, its value and the right value."""
import json
import os
import shutil

import pytest
from conftest import ROOT
from facts import check_error, check_facts
from npu_fixtures import JOB_VARIABLES, no_job  # noqa: F401 a fixture

from data_tools.base.errors import UserError
from edvr.config import RuntimeConfig
from edvr.devices import device_of, startup_checks
from edvr.launch import tf_config

NPU = RuntimeConfig(device='npu')
TABLE_8 = os.path.join(ROOT, 'scripts', 'rank_tables', '8p.json')


def problems(config=NPU, **environment):
    """The problems in an environment, without those of an absent adapter."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        return [text for text in device_of(config).problems({}, 'sum') if not text.startswith('--device=npu needs ')]


@pytest.fixture(autouse=True)
def environment(no_job):  # noqa: F811
    pass


def test_a_sound_environment():
    assert problems(JOB_ID='1', RANK_SIZE='1') == []
    assert problems(JOB_ID='1', RANK_SIZE='1', RANK_ID='0', DEVICE_ID='5') == []
    assert problems(JOB_ID='1', RANK_SIZE='8', RANK_ID='3', DEVICE_ID='3', RANK_TABLE_FILE=TABLE_8) == []
    assert problems(RuntimeConfig()) == []


@pytest.mark.parametrize('environment, text', [
    (dict(JOB_ID=''), 'JOB_ID is not set'),
    (dict(RANK_SIZE='abc'), "RANK_SIZE is 'abc'; it must be a whole number, at least 1"),
    (dict(RANK_SIZE='0'), "RANK_SIZE is '0'"),
    (dict(RANK_ID='-1'), "RANK_ID is '-1'; it must be a whole number, at least 0"),
    (dict(RANK_ID='8'), 'RANK_ID is 8, but RANK_SIZE is 8'),
    (dict(DEVICE_ID='x'), "DEVICE_ID is 'x'"),
    (dict(ASCEND_DEVICE_ID='x'), "ASCEND_DEVICE_ID is 'x'"),
    (dict(DEVICE_ID='4'), 'gives rank 3 device 3'),
    (dict(RANK_SIZE='4'), 'RANK_SIZE is 4, but the rank table %s has 8 devices' % TABLE_8),
    (dict(RANK_TABLE_FILE='/nowhere.json'), '/nowhere.json cannot be read'),
    (dict(LOCAL_CHECKPOINT_DIR='old'), "LOCAL_CHECKPOINT_DIR is set ('old')"),
    (dict(RESTORE_FROM='old'), 'RESTORE_FROM is set'),
    (dict(TF_CONFIG=''), "TF_CONFIG is set ('')"),
    (dict(POD_NAME='worker-3'), "POD_NAME is set ('worker-3')"),
    (dict(CM_WORKER_SIZE='8'), 'set in the environment: CM_WORKER_SIZE; '),
    (dict(CM_CHIEF_IP='10.0.0.1', CM_CHIEF_PORT='6000'), 'unset CM_CHIEF_IP CM_CHIEF_PORT'),
])
def test_one_thing_wrong(environment, text):
    sound = dict(JOB_ID='1', RANK_SIZE='8', RANK_ID='3', DEVICE_ID='3', RANK_TABLE_FILE=TABLE_8)
    found = problems(**dict(sound, **environment))
    assert len(found) == 1 and text in found[0]


@pytest.mark.parametrize('name', ['hccl.json', 'table'])
def test_a_rank_has_a_table_that_hccl_reads(tmp_path, name):
    """Neither a folder nor a file of another name."""
    shutil.copy(TABLE_8, str(tmp_path / name))
    path = str(tmp_path if name == 'hccl.json' else tmp_path / name)
    found = problems(JOB_ID='1', RANK_SIZE='8', RANK_ID='3', DEVICE_ID='3', RANK_TABLE_FILE=path)
    assert len(found) == 1
    check_facts(found[0], path, '.json', 'without RANK_ID')


def test_several_ranks_need_more():
    found = '\n'.join(problems(JOB_ID='1', RANK_SIZE='2'))
    for text in ('RANK_ID is not set', 'DEVICE_ID is not set', 'RANK_TABLE_FILE is not set'):
        assert text in found


def test_a_loop_is_a_whole(monkeypatch):
    monkeypatch.setenv('JOB_ID', '1')
    monkeypatch.setenv('RANK_SIZE', '1')
    found = device_of(NPU.replace(iterations_per_loop=10)).problems(
        {'steps': 105, 'save_every': 50, 'eval_every': 0}, 'sum')
    assert [text for text in found if 'loop' in text] == [
        '--steps=105 is not a multiple of --iterations_per_loop=10: nothing can happen inside a loop; use 110']


def test_a_run_is_continued_in_whole_loops():
    device = device_of(NPU.replace(iterations_per_loop=10))
    assert device.resume_problems(20, {'steps': 105}) == []
    found, = device.resume_problems(12, {'steps': 40, 'save_every': 20, 'eval_every': 0})
    check_facts(found, 'step 12', '--iterations_per_loop=10', '--steps=40', 'use --iterations_per_loop=1 or 2 or 4')
    assert device_of(RuntimeConfig(device='cpu')).resume_problems(12, {'steps': 40}) == []


def test_directories_of_the_device(tmp_path):
    missing = str(tmp_path / 'missing')
    found = problems(NPU.replace(dump_path=missing, op_compiler_cache_dir=str(tmp_path)), JOB_ID='1', RANK_SIZE='1')
    assert found == ['--dump_path=%s is not a directory; make it first' % missing]


def test_no_gpu():
    with pytest.raises(UserError, match='sees no GPU'):
        startup_checks.check(device_of(RuntimeConfig(device='gpu')), {}, 'sum')


# TF_CONFIG

def tf_config_text(workers=('a:1', 'b:1'), kind='worker', index=0, **others):
    return json.dumps({'cluster': dict({'worker': list(workers)}, **others), 'task': {'type': kind, 'index': index}})


def test_place_in_the_cluster(monkeypatch):
    assert device_of(RuntimeConfig()).rank_and_size() == (0, 1)
    monkeypatch.setenv('TF_CONFIG', tf_config_text(index=1))
    assert device_of(RuntimeConfig()).rank_and_size() == (1, 2)
    monkeypatch.setenv('TF_CONFIG', tf_config_text(index=1, chief=['c:1']))
    assert device_of(RuntimeConfig()).rank_and_size() == (2, 3)
    monkeypatch.setenv('TF_CONFIG', tf_config_text(kind='chief', chief=['c:1']))
    assert device_of(RuntimeConfig()).rank_and_size() == (0, 3)
    assert device_of(RuntimeConfig()).num_replicas() == 3


@pytest.mark.parametrize('text, wrong', [
    ('', 'must be JSON'), ('[]', 'must be JSON'), ('[' * 100000, 'must be JSON'), ('{"task": {}}', 'must be JSON'),
    (tf_config_text(index=2), 'worker 2, which its cluster does not have (it has worker 0, worker 1)'),
    (tf_config_text(ps=['c:1']), 'tasks of type ps')])
def test_cluster_that_cannot_be(monkeypatch, text, wrong):
    monkeypatch.setenv('TF_CONFIG', text)
    found = problems(RuntimeConfig())
    assert len(found) == 1 and wrong in found[0]
    with pytest.raises(UserError):
        tf_config.rank_and_size()


def test_replicas_and_cluster(monkeypatch):
    monkeypatch.setenv('TF_CONFIG', tf_config_text())
    assert 'each of its processes has one replica' in problems(RuntimeConfig(cpu_replicas=2))[0]


# the program

def test_training_reports_everything_before_it_starts(run_program, tmp_path):
    environment = dict(dict.fromkeys(JOB_VARIABLES, ''), RANK_SIZE='2', RANK_ID='2', RANK_TABLE_FILE=TABLE_8,
                       TF_CONFIG=tf_config_text())
    done = run_program('edvr.train', '--device=npu', '--iterations_per_loop=10', '--steps=25', '--save_every=10',
                       '--log_every=10', '--summary_every=10', '--model_dir=%s' % (tmp_path / 'run'), env=environment)
    check_error(done, 'nothing was started')
    check_facts(done.stderr, '--steps=25', '--device=npu', 'NPURunConfig', 'JOB_ID', 'RANK_ID is 2',
                'RANK_SIZE is 2', '8 devices', 'TF_CONFIG')
    assert "DEVICE_ID is ''" in done.stderr   # ASCEND_DEVICE_ID with the adapter of TensorFlow 2
    assert not (tmp_path / 'run').exists()
