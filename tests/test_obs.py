"""obs:// by the double of moxing: copies before, during and after a program; nothing good in OBS is lost."""
import importlib
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import tiny_training
import training_runs
from conftest import ROOT
from facts import check_error, check_facts, raises_facts
from test_torch_weights import make_state

from data_tools.base import mirror, object_store
from data_tools.base.errors import UserError
from data_tools.base.object_store import ObjectStore
from edvr.config import DataConfig, ModelConfig, RuntimeConfig, TrainingConfig
from edvr.network import networks
from edvr.pytorch import safetensors_file
from edvr.training.rundir import configuration
from edvr.training.training_run import Run

DOUBLE = os.path.join(ROOT, 'tests', 'moxing_double')
BOOT = os.path.join(ROOT, 'boot.py')
RUN = 'obs://bucket/runs/edvr'


@pytest.fixture
def obs(tmp_path, monkeypatch):
    """The folder that stands for OBS; moxing is importable, and failed operations are repeated without a pause."""
    monkeypatch.setenv('MOXING_DOUBLE', str(tmp_path / 'obs'))
    monkeypatch.setenv('MOXING_DOUBLE_LOG', str(tmp_path / 'log'))
    monkeypatch.delenv('MOXING_DOUBLE_FAULTS', raising=False)
    monkeypatch.setattr(object_store, '_PAUSE', 0.)
    monkeypatch.syspath_prepend(DOUBLE)
    (tmp_path / 'obs' / 'bucket').mkdir(parents=True)
    yield tmp_path / 'obs' / 'bucket'
    for name in ('moxing', 'moxing.file'):
        sys.modules.pop(name, None)


@pytest.fixture(params=['', 'cut', 'error', 'cut,error'])
def faults(request, monkeypatch):
    monkeypatch.setenv('MOXING_DOUBLE_FAULTS', request.param)


def checkpoint(folder, step, keep=()):
    """Writes a checkpoint as training does, and removes the others but those of the steps `keep`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ('model.ckpt-%d.data-00000-of-00001' % step)).write_bytes(os.urandom(1000))
    (folder / ('model.ckpt-%d.index' % step)).write_bytes(b'index of %d' % step)
    for path in folder.glob('model.ckpt-*'):
        if int(path.name.split('-')[1].split('.')[0]) not in (step, *keep):
            path.unlink()
    (folder / 'checkpoint').write_text('model_checkpoint_path: "model.ckpt-%d"\n' % step)


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob('*') if path.is_file()}


def newest(folder):
    """The step that the file `checkpoint` of a folder names, after a check that this checkpoint is whole."""
    name = (folder / 'checkpoint').read_text().split('"')[1]
    assert (folder / (name + '.index')).read_bytes() == b'index of ' + name.split('-')[1].encode()
    assert len((folder / (name + '.data-00000-of-00001')).read_bytes()) == 1000
    return int(name.split('-')[1])


def log(obs):
    path = obs.parent.parent / 'log'
    return [line.replace(RUN + '/', '') for line in path.read_text().splitlines()] if path.exists() else []


# copies

def test_a_folder_arrives_whole(obs, faults, tmp_path):
    for index in range(5):
        (obs / 'set' / ('part%d' % (index % 2))).mkdir(parents=True, exist_ok=True)
        (obs / 'set' / ('part%d' % (index % 2)) / str(index)).write_bytes(os.urandom(999))
    local = tmp_path / 'local'
    assert len(mirror.download(ObjectStore(), 'obs://bucket/set/', str(local))) == 5
    assert contents(local) == contents(obs / 'set')


def test_what_is_there_is_not_copied_again_and_what_is_gone_is_removed(obs, tmp_path):
    (obs / 'set').mkdir()
    (obs / 'set' / 'a').write_text('same')
    (obs / 'set' / 'b').write_text('old!')
    local, store = tmp_path / 'local', ObjectStore()
    mirror.download(store, 'obs://bucket/set', str(local))
    kept = (local / 'a').stat().st_ino
    (obs / 'set' / 'b').write_text('new!')   # of the same size
    os.utime(str(obs / 'set' / 'b'), (1, 1))
    (local / 'c').write_text('of an earlier set')
    mirror.download(store, 'obs://bucket/set', str(local))
    assert contents(local) == dict(a=b'same', b=b'new!') and (local / 'a').stat().st_ino == kept


def test_the_newest_checkpoint_is_found_although_no_listing_has_it(obs, tmp_path, monkeypatch):
    checkpoint(obs / 'runs' / 'edvr', 7)
    monkeypatch.setenv('MOXING_DOUBLE_FAULTS', 'late')
    assert ObjectStore().names(RUN) == []
    mirror.download(ObjectStore(), RUN, str(tmp_path / 'local'))
    assert newest(tmp_path / 'local') == 7


def test_prefix_of_a_checkpoint_and_a_training_directory(obs, tmp_path):
    checkpoint(obs / 'runs' / 'edvr', 70)
    checkpoint(obs / 'runs' / 'edvr', 7, keep=[70])
    (obs / 'runs' / 'edvr' / 'model.json').write_text('{}')
    (obs / 'runs' / 'edvr' / 'events.out').write_text('large')
    (obs / 'runs' / 'edvr' / 'test').mkdir()
    (obs / 'runs' / 'edvr' / 'test' / 'frame.json').write_text('restored')
    parts = ['model.ckpt-7.data-00000-of-00001', 'model.ckpt-7.index', 'model.json']
    store = ObjectStore()
    assert mirror.download(store, RUN + '/model.ckpt-7', str(tmp_path / 'a' / 'model.ckpt-7'), True) == parts
    assert len(mirror.download(store, RUN, str(tmp_path / 'b'), True)) == 6
    assert mirror.download(store, RUN + '/model.ckpt-8', str(tmp_path / 'c' / 'model.ckpt-8'), True) == []


def test_more_than_the_disk_holds(obs, tmp_path, monkeypatch):
    (obs / 'large').write_bytes(b'0' * 100)
    usage = shutil.disk_usage(str(tmp_path))
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: usage._replace(free=99))
    with raises_facts(UserError, '100 bytes', '99 are free', '--cache_dir'):
        mirror.download(ObjectStore(), 'obs://bucket/large', str(tmp_path / 'large'))
    assert not (tmp_path / 'large').exists()


def test_a_name_that_leads_out_of_the_folder(obs, tmp_path, monkeypatch):
    (obs / 'set').mkdir()
    file = importlib.import_module('moxing').file
    monkeypatch.setattr(file, 'list_directory', lambda url, recursive: ['../../outside'])
    with raises_facts(UserError, "'../../outside'", 'leads out'):
        mirror.download(ObjectStore(), 'obs://bucket/set', str(tmp_path / 'local'))


# copies back

def test_data_come_before_the_file_that_names_them(obs, faults, tmp_path):
    local = tmp_path / 'local'
    checkpoint(local, 3)
    (local / 'lock').write_text('process 1')
    (local / 'checkpoint.partial').mkdir()
    (local / 'checkpoint.partial' / 'model.ckpt-4.index').write_text('half')
    copies = mirror.Mirror(ObjectStore(), RUN, str(local))
    copies.sync()
    checkpoint(local, 6)
    copies.sync()
    assert newest(obs / 'runs' / 'edvr') == 6
    assert sorted(contents(obs / 'runs' / 'edvr')) == ['checkpoint', 'model.ckpt-6.data-00000-of-00001',
                                                       'model.ckpt-6.index']
    order = list(dict.fromkeys(log(obs)))   # without repetitions of what was cut
    assert order == ['put model.ckpt-3.data-00000-of-00001', 'put model.ckpt-3.index', 'put checkpoint',
                     'put model.ckpt-6.data-00000-of-00001', 'put model.ckpt-6.index',
                     'remove model.ckpt-3.index', 'remove model.ckpt-3.data-00000-of-00001']
    last = len(log(obs)) - 1 - log(obs)[::-1].index('put checkpoint')
    assert log(obs).index('put model.ckpt-6.index') < last < log(obs).index('remove model.ckpt-3.index')
    assert copies.sync() == 0


@pytest.mark.parametrize('calls', range(8))
def test_old_or_new_whenever_the_copying_ends(obs, tmp_path, monkeypatch, calls):
    """The process is killed at the call number `calls` of moxing.file.copy or remove."""
    local, store = tmp_path / 'local', ObjectStore()
    checkpoint(local, 3)
    checkpoint(local / 'best', 3)
    copies = mirror.Mirror(store, RUN, str(local))
    copies.sync()
    checkpoint(local, 6)
    checkpoint(local / 'best', 6)
    file, count = importlib.import_module('moxing').file, iter(range(100))

    class Killed(BaseException):
        pass

    def counted(action):
        def act(*arguments, **options):
            if next(count) >= calls:
                raise Killed
            return action(*arguments, **options)
        return act
    for name in ('copy', 'remove'):
        monkeypatch.setattr(file, name, counted(getattr(file, name)))
    with pytest.raises(Killed):
        copies.sync()
    for folder in (obs / 'runs' / 'edvr', obs / 'runs' / 'edvr' / 'best'):
        assert newest(folder) in (3, 6)


def test_a_checkpoint_that_appears_while_another_is_copied(obs, tmp_path, monkeypatch):
    local, file = tmp_path / 'local', importlib.import_module('moxing').file
    checkpoint(local, 3)
    copy, pending = file.copy, [6, 9]

    def meanwhile(source, target):
        if pending:
            checkpoint(local, pending.pop(0))
        return copy(source, target)
    monkeypatch.setattr(file, 'copy', meanwhile)
    copies = mirror.Mirror(ObjectStore(), RUN, str(local))
    for _ in range(3):
        copies.sync()
        assert not (obs / 'runs' / 'edvr' / 'checkpoint').exists() or newest(obs / 'runs' / 'edvr')
    assert newest(obs / 'runs' / 'edvr') == 9


def test_a_cache_that_is_emptied_empties_nothing_in_obs(obs, tmp_path):
    local = tmp_path / 'local'
    checkpoint(local, 3)
    (local / 'model.json').write_text('{}')
    copies = mirror.Mirror(ObjectStore(), RUN, str(local))
    copies.sync()
    before = contents(obs)
    for path in local.iterdir():
        path.unlink()
    copies.sync()
    shutil.rmtree(str(local))
    copies.sync()
    assert contents(obs) == before and not [line for line in log(obs) if line.startswith('remove')]


def test_a_service_that_takes_nothing(obs, tmp_path, monkeypatch):
    checkpoint(obs / 'runs' / 'edvr', 3)
    local = tmp_path / 'local'
    copies = mirror.Mirror(ObjectStore(), RUN, str(local), mirror.download(ObjectStore(), RUN, str(local)))
    monkeypatch.setenv('MOXING_DOUBLE_FAULTS', 'stuck')
    checkpoint(local, 6)
    with raises_facts(UserError, RUN, 'InternalError', 'permissions'):
        copies.sync()
    assert newest(obs / 'runs' / 'edvr') == 3
    monkeypatch.setenv('MOXING_DOUBLE_FAULTS', '')
    copies.sync()
    assert newest(obs / 'runs' / 'edvr') == 6


# programs

def training(obs, cache, steps, **variables):
    """Starts a training whose data and model directory are in OBS."""
    arguments = tiny_training.arguments('obs://bucket/set', RUN, steps=steps, save_every=3, cosine_periods=(200,))
    environment = training_runs.environment(**variables)
    environment['PYTHONPATH'] += os.pathsep + DOUBLE
    return subprocess.Popen(training_runs.program() + arguments + ['--cache_dir=%s' % cache], env=environment,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)


def test_training_continues_on_another_machine(obs, tmp_path):
    """Copies are cut, listings are late; the first machine is stopped by SIGTERM, the second is killed while it copies.
    """
    tiny_training.make_set(obs / 'set')
    for path in (obs / 'set').iterdir():
        os.utime(str(path), (1, 1))
    for machine in ('first', 'second', 'third'):
        (tmp_path / machine).mkdir()
    first = training(obs, tmp_path / 'first', 200, MOXING_DOUBLE_FAULTS='cut', TINY_TRAINING_SLEEP='.05')
    lines = []
    for line in first.stdout:
        lines.append(line)
        if 'Step:4,' in line:
            first.send_signal(signal.SIGTERM)
    assert first.wait(120) == 128 + signal.SIGTERM, ''.join(lines)
    check_facts(''.join(lines), '--data_dir=obs://bucket/set', 'copied 13 files', 'SIGTERM', 'files back from')
    run = obs / 'runs' / 'edvr'
    saved = int((run / 'checkpoint').read_text().split('"')[1].split('-')[1])
    assert saved >= 4 and (run / 'config.json').exists() and not (run / 'lock').exists()
    shutil.rmtree(str(tmp_path / 'first'))
    second = training(obs, tmp_path / 'second', saved + 1, MOXING_DOUBLE_HOLD='model.ckpt-%d.index' % (saved + 1))
    try:
        deadline = time.monotonic() + 120
        while second.poll() is None and 'held model.ckpt-%d.index' % (saved + 1) not in log(obs):
            assert time.monotonic() < deadline
            time.sleep(.05)
        second.kill()
        output = second.communicate(timeout=120)[0]
    finally:
        second.kill()
    assert second.returncode == -signal.SIGKILL and 'trained %d steps' % (saved + 1) in output, output
    assert (run / ('model.ckpt-%d.data-00000-of-00001' % (saved + 1))).exists()   # half of a checkpoint is in OBS
    shutil.rmtree(str(tmp_path / 'second'))
    third = training(obs, tmp_path / 'third', saved + 2, MOXING_DOUBLE_FAULTS='late')
    output = third.communicate(timeout=120)[0]
    assert third.returncode == 0, output
    check_facts(output, 'at step %d' % saved, 'trained %d steps' % (saved + 2))
    assert 'model.ckpt-%d' % (saved + 2) in (run / 'checkpoint').read_text()
    log_lines = log(obs)
    assert max(index for index, line in enumerate(log_lines) if line == 'put checkpoint') > max(
        index for index, line in enumerate(log_lines) if line.endswith('.index') and line.startswith('put'))


def test_the_cache_is_no_part_of_the_configuration():
    """A run that begins from weights in OBS continues with another --cache_dir."""
    configs = [configuration.resolved(ModelConfig(), DataConfig(), TrainingConfig(
        init_from='%s/edvr_copies/in/bucket/first/model.ckpt-7' % cache), RuntimeConfig(), 1)
        for cache in ('/cache', '/mnt/edvr_copies')]
    assert configs[0]['training']['init_from'] == 'obs://bucket/first/model.ckpt-7'
    assert configuration.differences(*configs) == []


def test_weights_are_imported_from_obs(obs, run_program, tmp_path):
    state, _ = make_state()
    safetensors_file.save(str(obs / 'x.safetensors'), state)
    done = run_program('edvr.import_weights', '--from=obs://bucket/x.safetensors', '--output_dir=obs://bucket/model',
                       '--cache_dir=%s' % tmp_path, env=dict(PYTHONPATH=DOUBLE))
    assert done.returncode == 0, done.stderr
    assert {'model.json', 'checkpoint', 'model.ckpt-0.index'} < set(contents(obs / 'model'))


def test_outputs_are_copied_back_although_the_boot_file_is_elsewhere(obs, tmp_path):
    """Any current folder; the program that works on the copies is started by its path too."""
    (tmp_path / 'cwd').mkdir()
    done = boot(tmp_path / 'cwd', '--program=make_sample_clips', '--output_dir=obs://bucket/clips', '--gt_size=64x64',
                '--num_frames=4', '--num_clips=2', '--cache_dir=%s' % tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(list((obs / 'clips').rglob('*.png'))) >= 8 and not list((tmp_path / 'cwd').iterdir())


def test_outputs_that_cannot_be_copied_back_are_named(obs, tmp_path, monkeypatch):
    monkeypatch.setenv('MOXING_DOUBLE_FAULTS', 'stuck')
    done = boot(tmp_path, '--program=make_sample_clips', '--output_dir=obs://bucket/clips', '--gt_size=64x64',
                '--num_frames=1', '--num_clips=1', '--cache_dir=%s' % tmp_path)
    local = tmp_path / 'edvr_copies' / 'out' / 'bucket+clips' / 'clips'
    check_error(done, 'obs://bucket/clips', 'InternalError', local, 'before you start again')
    assert list(local.rglob('*.png')) and not list(obs.rglob('*.png'))


def boot(cwd, *arguments, path=BOOT):
    return subprocess.run([sys.executable, str(path), *arguments], cwd=str(cwd), env=dict(
        os.environ, PYTHONPATH=DOUBLE), stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True,
        timeout=120)


def test_boot_file_that_is_not_in_the_project(tmp_path):
    shutil.copy(BOOT, str(tmp_path))
    check_error(boot(tmp_path, path=tmp_path / 'boot.py'), tmp_path, 'edvr', 'code directory')
    check_error(boot(tmp_path, '--program=nothing'), '--program=nothing', 'train', 'make_tfrecords')


def test_a_program_that_fails_still_leaves_its_outputs(obs, run_program, tmp_path):
    done = run_program('edvr.train', '--data_dir=obs://bucket/set', '--model_dir=obs://bucket/run', '--device=cpu',
                       '--cache_dir=%s' % tmp_path, env=dict(PYTHONPATH=DOUBLE))
    check_error(done, '--data_dir=obs://bucket/set', 'there is nothing')
    (obs / 'set').mkdir()
    (obs / 'set' / 'README').write_text('no manifest')
    done = run_program('edvr.train', '--data_dir=obs://bucket/set', '--model_dir=obs://bucket/run', '--device=cpu',
                       '--cache_dir=%s' % tmp_path, env=dict(PYTHONPATH=DOUBLE))
    check_error(done, 'manifest.json')
    check_facts(done.stdout, 'files back from')


def test_a_copy_is_not_watched(obs, run_program, tmp_path):
    checkpoint(obs / 'runs' / 'edvr', 3)
    done = run_program('edvr.evaluate', '--watch', '--checkpoint=' + RUN, '--cache_dir=%s' % tmp_path, '--device=cpu',
                       '--data_dir=%s' % tmp_path, env=dict(PYTHONPATH=DOUBLE))
    check_error(done, '--watch', 'obs://', 'without --watch')


def test_a_rollback_ends_a_job_whose_hosts_do_not_see_the_checkpoints(obs, tmp_path, monkeypatch):
    folder = tiny_training.make_set(tmp_path / 'set')
    monkeypatch.setenv('EDVR_COPIES', str(tmp_path / 'run'))
    monkeypatch.setitem(networks.NETWORKS, 'edvr', tiny_training.as_network(tiny_training.spoiled_at(2, 6)))
    run = Run(*tiny_training.configs(folder, tmp_path / 'run', bad_steps=2))
    run.hosts = 2   # as the ranks find when they meet
    with raises_facts(UserError, 'other hosts', 'obs://', 'start the job again'):
        run.train()


@pytest.mark.parametrize('program, arguments, facts', [
    ('edvr.train', ['--model_dir=obs://bucket/run'], ['obs://', 'moxing', 'does not load', 'obsutil']),
    # before anything is copied
    ('edvr.train', ['--data_dir=obs://bucket/set', '--num_frames=4'], ['num_frames']),
    ('edvr.train', ['--model_dir=obs://bucket/../../etc'], ['--model_dir=obs://bucket/../../etc', 'obs://BUCKET/NAME']),
    ('edvr.train', ['--model_dir=obs://bucket'], ['--model_dir=obs://bucket', 'obs://BUCKET/NAME']),
    ('edvr.export', ['--checkpoint=obs://bucket/run'], ['--output is not given', '--checkpoint=obs://bucket/run']),
    ('data_tools.make_tfrecords', ['--data_dir=obs://bucket/clips'], ['--output_dir is not given']),
    ('edvr.import_weights', ['--from=obs://bucket/x.pth', '--output_dir=x'], ['obs://', 'moxing']),
    ('edvr.import_weights', ['--from=s3://bucket/x.pth', '--output_dir=x'], ['--from=s3://bucket/x.pth', 'obs://']),
    # what is never copied
    ('edvr.train', ['--device=npu', '--dump_path=obs://bucket/x'], ['--dump_path=obs://bucket/x', 'this machine']),
    ('edvr.train', ['--device=npu', '--op_compiler_cache_dir=obs://bucket/x'], ['--op_compiler_cache_dir=obs://bucket/x']),
    ('data_tools.make_tfrecords', ['--scratch_dir=s3://bucket/x'], ['--scratch_dir=s3://bucket/x', 'this machine']),
    # the machines of Beam have no copy
    ('edvr.infer', ['--runner=SparkRunner', '--input=obs://bucket/in'], ['--runner=SparkRunner', '--input=obs://bucket/in',
                                                                         'mount']),
    ('data_tools.make_tfrecords', ['--runner=DirectRunner', '--data_dir=x', '--output_dir=obs://bucket/set'],
     ['--runner=DirectRunner', '--output_dir=obs://bucket/set'])])
def test_obs_that_cannot_be(run_program, program, arguments, facts):
    check_error(run_program(program, *arguments), *facts)


def test_two_jobs_do_not_write_one_copy(obs, tmp_path, run_program):
    from data_tools.base import lock
    folder = tmp_path / 'edvr_copies' / 'out' / 'bucket+run'
    folder.parent.mkdir(parents=True)
    with lock.hold(str(folder) + '.lock', 'x', '--x'):
        done = run_program('edvr.train', '--model_dir=obs://bucket/run', '--device=cpu', '--cache_dir=%s' % tmp_path,
                           env=dict(PYTHONPATH=DOUBLE))
    check_error(done, 'another run', folder, '--cache_dir')
    (tmp_path / 'file').write_text('')
    done = run_program('edvr.train', '--model_dir=obs://bucket/run', '--device=cpu', '--cache_dir=%s' % (
        tmp_path / 'file'), env=dict(PYTHONPATH=DOUBLE))
    check_error(done, tmp_path / 'file', '--cache_dir')
