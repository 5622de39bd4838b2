"""The device that is used if none is named, and the options of other devices."""
import pytest
from facts import check_error
from npu_fixtures import DOUBLE, no_job  # noqa: F401 fixture

from edvr.devices import adapter, choice, gpu
from edvr.launch import npu_cards


@pytest.fixture(autouse=True)
def host(no_job, monkeypatch, tmp_path):  # noqa: F811
    """A host whose device files are those in the folder this returns; without any, and without an adapter."""
    monkeypatch.setattr(npu_cards, 'NPU_FILES', str(tmp_path / 'davinci[0-9]*'))
    monkeypatch.setattr(gpu, 'GPU_FILES', (str(tmp_path / 'nvidia[0-9]*'),))
    choice.choose.cache_clear()
    yield tmp_path
    choice.choose.cache_clear()


def sees(monkeypatch, gpus):
    from edvr.graph_mode import tf
    monkeypatch.setattr(tf.config.experimental, 'list_physical_devices', lambda kind: gpus)


def test_nothing_there():
    assert choice.choose() == ('cpu', 'no npu_bridge or npu_device, no /dev/davinci*, no GPU')


def test_an_adapter_or_a_card_is_an_npu(host, monkeypatch):
    (host / 'davinci_manager').touch()
    (host / 'davinci3').touch()
    (host / 'davinci10').touch()
    (host / 'nvidia0').touch()
    assert choice.choose() == ('npu', '%s is there' % (host / 'davinci10'))
    monkeypatch.syspath_prepend(DOUBLE)
    choice.choose.cache_clear()
    assert choice.choose() == ('npu', 'npu_bridge is installed and %s is there' % (host / 'davinci10'))


@pytest.mark.parametrize('gpus, device, text', [
    (['one', 'two'], 'gpu', 'sees 2 GPUs'), (['one'], 'gpu', 'sees 1 GPU'),
    ([], 'cpu', 'sees no GPU: check nvidia-smi and the CUDA libraries')])
def test_gpus_are_those_that_tensorflow_sees(host, monkeypatch, gpus, device, text):
    (host / 'nvidia0').touch()
    sees(monkeypatch, gpus)
    found = choice.choose()
    assert found.device == device and text in found.reason


def test_a_requested_device_is_used(host):
    (host / 'davinci0').touch()
    assert choice.choose('cpu') == ('cpu', '--device')


# programs

FOREIGN = '--iterations_per_loop=10\n--precision_mode=force_fp16\n--mixed_precision\n--device_ids=1,3\n--steps=20\n'


def test_options_of_other_devices_in_a_flagfile_are_ignored(run_program, tmp_path):
    (tmp_path / 'run.cfg').write_text(FOREIGN)
    options = ['--flagfile=%s' % (tmp_path / 'run.cfg'), '--data_dir=/nowhere', '--model_dir=%s' % (tmp_path / 'run')]
    done = run_program('edvr.train', *options)
    check_error(done, '/nowhere', 'no such folder')   # that is all that is wrong
    first, second = done.stdout.splitlines()[:2]
    assert first == 'device: cpu (no npu_bridge or npu_device, no /dev/davinci*, no GPU)'
    assert second == ('ignored on cpu: mixed_precision=True, precision_mode=force_fp16, iterations_per_loop=10, '
                      'device_ids=1,3')
    printed = run_program('edvr.train', '--print_config', *options).stdout
    assert '\n--iterations_per_loop=1\n' in printed and '\n--nomixed_precision\n' in printed
    assert '\n--steps=20\n' in printed and '\n--device=cpu\n' in printed


def test_options_of_other_devices_on_the_command_line_are_errors(run_program, tmp_path):
    (tmp_path / 'run.cfg').write_text(FOREIGN)
    done = run_program('edvr.train', '--flagfile=%s' % (tmp_path / 'run.cfg'), '--iterations_per_loop=20',
                       '--profiling=task_trace')
    check_error(done, 'iterations_per_loop is 20', "profiling is 'task_trace'", '--device=npu', 'the device is cpu')
    assert 'mixed_precision' not in done.stderr
    assert '\nignored on cpu: mixed_precision=True, precision_mode=force_fp16, device_ids=1,3\n' in done.stdout


def test_a_broken_adapter_is_an_error_and_not_the_cpu(run_program, tmp_path):
    name = adapter.prefix().split('.')[0]
    (tmp_path / name).mkdir()
    (tmp_path / name / '__init__.py').write_text('raise ImportError("libge_runner.so: no such file")')
    done = run_program('edvr.train', '--data_dir=x', '--model_dir=%s' % (tmp_path / 'run'), '--steps=1',
                       env=dict(PYTHONPATH=str(tmp_path)))
    assert done.stdout.startswith('device: npu (%s is installed)\n' % name)
    assert done.returncode == 1 and 'libge_runner.so: no such file' in done.stderr
