"""The GPU operator of the deformable convolution, on the host: its kernels as C++, behind a double of the CUDA driver.

With EDVR_GPU_TESTS=1 (`scripts/test.sh --gpu`) the values and gradients are those of a real GPU.
"""
import locale
import os
import re
import subprocess

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from facts import raises_facts
from helpers import session
from test_deform_conv import OFFSETS, make_inputs
from test_deform_conv import run as run_stock

from data_tools.base.errors import UserError
from edvr.config import RuntimeConfig
from edvr.devices import device_of
from edvr.ops import cuda_library, cuda_ops, native_library
from edvr.ops.cuda_library import BuildError
from edvr.restore.compiled_graph import load_graph

ON_GPU = os.environ.get('EDVR_GPU_TESTS') == '1'
DOUBLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'cuda_double.cc')
SHAPES = [   # N, H, W, C, C_out, G, K; C / G is 1 to 32: values are read by 1, 2, 4 and 8, of a point by 1 to 8 threads
    (1, 4, 4, 2, 3, 2, 3), (2, 5, 7, 4, 2, 2, 3), (2, 3, 5, 12, 4, 2, 1), (1, 6, 5, 16, 3, 2, 3),
    (1, 3, 4, 16, 5, 1, 5), (1, 2, 3, 24, 2, 1, 3), (1, 3, 2, 32, 2, 1, 3), (1, 1, 1, 4, 2, 1, 3)]
NAMES = ['y', 'x', 'offset', 'mask', 'weight', 'bias']


def has_nvrtc():
    try:
        return bool(cuda_library.nvrtc())
    except BuildError:
        return False


needs_nvrtc = pytest.mark.skipif(not has_nvrtc(), reason='no NVRTC: its wheel is for x86_64')
pytestmark = pytest.mark.skipif(native_library.compiler() is None, reason='no C++ compiler')
on_double = pytest.mark.skipif(ON_GPU, reason='tests of the driver need its double')


@pytest.fixture(scope='module')
def driver(tmp_path_factory):
    """The path of the double of the driver."""
    path = str(tmp_path_factory.mktemp('cuda') / 'libcuda_double.so')
    subprocess.run([native_library.compiler(), '-std=c++14', '-O1', '-fno-strict-aliasing', '-shared', '-fPIC',
                    '-pthread', '-I' + cuda_library.SOURCE, DOUBLE, '-o', path], check=True)
    return path


@pytest.fixture
def cuda(monkeypatch, request, tmp_path):
    """A process with a GPU, sm_80, whose driver is the double; returns the file of its calls."""
    if ON_GPU:
        # by default TensorFlow rounds the factors of products of float32 to 10 bits on such GPUs
        tf.config.experimental.enable_tensor_float_32_execution(False)
        return None
    log = str(tmp_path / 'calls')
    monkeypatch.setenv('EDVR_DOUBLE_ARCHITECTURES', '80')
    monkeypatch.setenv('EDVR_DOUBLE_LOG', log)
    monkeypatch.setattr(cuda_library, 'DRIVER', request.getfixturevalue('driver'))
    flags = tuple(cuda_library.OPERATORS.flags) + ('-DEDVR_CUDA_DOUBLE',)
    monkeypatch.setattr(cuda_library, 'OPERATORS', cuda_library.OPERATORS._replace(name='cuda-double', flags=flags))
    monkeypatch.setattr(cuda_library, '_state', {})
    return log


def run(inputs, G, dtype='float32', cotangent=None, deterministic=False, offset_dtype=None):
    """The output, and with a cotangent the gradients of all five inputs after it, as float64."""
    with tf.Graph().as_default(), session() as started:
        types = [dtype, offset_dtype or dtype, offset_dtype or dtype, dtype, dtype]
        feeds = [tf.placeholder(kind, value.shape) for kind, value in zip(types, inputs)]
        x, offset, mask, weight, bias = feeds
        y = tf.nn.bias_add(cuda_ops.deform_conv2d(x, offset, mask, weight, G, deterministic), bias)
        fetches = [y] if cotangent is None else [y] + tf.gradients(y, feeds, tf.constant(cotangent, dtype))
        return [value.astype(np.float64) for value in started.run(fetches, dict(zip(feeds, inputs)))]


def rounded(values, dtype):
    return [value.astype(dtype).astype(np.float64) for value in values]


def calls(log):
    with open(log) as file:
        return file.read().splitlines()


@needs_nvrtc
@pytest.mark.parametrize('kind', OFFSETS)
@pytest.mark.parametrize('shape', SHAPES, ids=str)
def test_values_and_gradients(cuda, shape, kind):
    inputs = rounded(make_inputs(shape, kind), np.float32)
    cotangent = np.random.RandomState(1).randn(*shape[:3] + (shape[4],)).astype(np.float32)
    exact = run_stock(inputs, shape[5], 'float64', cotangent=cotangent)
    for deterministic in (False, True):
        single = run(inputs, shape[5], cotangent=cotangent, deterministic=deterministic)
        for name, one, other in zip(NAMES, exact, single):
            assert np.abs(one - other).max() <= 1e-5 * np.abs(one).max() + 1e-12, (name, deterministic)


@needs_nvrtc
@pytest.mark.parametrize('offsets', ['float16', 'float32'])
@pytest.mark.parametrize('shape', SHAPES[1:-1], ids=str)
def test_float16_has_sums_of_float32(cuda, shape, offsets):
    inputs = rounded(make_inputs(shape, 'random'), np.float16)
    cotangent = np.random.RandomState(1).randn(*shape[:3] + (shape[4],)).astype(np.float16)
    exact = run_stock(inputs, shape[5], 'float64', cotangent=cotangent)
    half = run(inputs, shape[5], 'float16', cotangent, offset_dtype=offsets)
    for name, one, other in zip(NAMES, exact, half):
        assert np.abs(one - other).max() <= 4e-3 * np.abs(one).max(), name


@needs_nvrtc
@pytest.mark.parametrize('pieces', [1, 3])
def test_more_points_than_a_block_and_images_in_pieces(cuda, monkeypatch, pieces):
    shape = (3, 21, 22, 8, 4, 2, 3)
    monkeypatch.setattr(cuda_ops, 'MOST_BYTES', 21 * 22 * 8 * 9 * 4 * (4 - pieces))
    inputs = rounded(make_inputs(shape, 'random'), np.float32)
    cotangent = np.random.RandomState(1).randn(*shape[:3] + (shape[4],)).astype(np.float32)
    exact = run_stock(inputs, shape[5], 'float64', cotangent=cotangent)
    for name, one, other in zip(NAMES, exact, run(inputs, shape[5], cotangent=cotangent)):
        assert np.abs(one - other).max() <= 1e-5 * np.abs(one).max(), name
    if cuda:
        launches = [line for line in calls(cuda) if line.startswith('cuLaunchKernel')]
        assert len(launches) == 3 * pieces   # forward, again in the backward pass, and the gradients
        points = 3 * 21 * 22 * 18 // pieces
        assert 'cuLaunchKernel sample_f32_f32_4 %d 256' % -(-points // 256) in launches


@on_double
@needs_nvrtc
def test_threads_share_the_channels_of_a_point(cuda):
    shape = (1, 6, 5, 32, 3, 2, 3)
    run(make_inputs(shape, 'random'), shape[5], cotangent=np.ones(shape[:3] + (shape[4],), np.float32))
    threads = 30 * 18 * 4   # 16 channels, by 4
    launches = [line for line in calls(cuda) if line.startswith('cuLaunchKernel')]
    assert all(line.endswith(' %d 256' % -(-threads // 256)) for line in launches) and len(launches) == 3


@needs_nvrtc
@pytest.mark.parametrize('bad', [np.nan, np.inf])
@pytest.mark.parametrize('deterministic', [False, True])
def test_offsets_that_are_no_number_sample_nothing(cuda, bad, deterministic):
    shape = (1, 4, 5, 4, 3, 2, 3)
    inputs = rounded(make_inputs(shape, 'random'), np.float32)
    inputs[1][0, 1, 2] = bad
    cotangent = np.ones(shape[:3] + (shape[4],), np.float32)
    found = run(inputs, 2, cotangent=cotangent, deterministic=deterministic)
    np.testing.assert_allclose(found[0][0, 1, 2], inputs[4], rtol=1e-6)   # the bias alone
    assert not found[2][0, 1, 2].any() and all(np.isfinite(value).all() for value in found)


@needs_nvrtc
@pytest.mark.parametrize('deterministic', [False, True])
def test_a_gradient_that_is_no_number_stays_none(cuda, deterministic):
    shape = (1, 4, 5, 4, 3, 2, 3)
    cotangent = np.ones(shape[:3] + (shape[4],), np.float32)
    cotangent[0, 0, 0, 0] = np.nan
    found = run(rounded(make_inputs(shape, 'zero'), np.float32), 2, cotangent=cotangent, deterministic=deterministic)
    assert np.isnan(found[1]).any() and np.isnan(found[2]).any()


@needs_nvrtc
@pytest.mark.parametrize('scale', [1e-30, 1e-12, 1e12, 1e30, 0.])
def test_sums_of_integers_keep_the_size_of_gradients(cuda, scale):
    shape = (1, 5, 4, 4, 3, 2, 3)
    inputs = rounded(make_inputs(shape, 'random'), np.float32)
    cotangent = (np.random.RandomState(1).randn(*shape[:3] + (shape[4],)) * scale).astype(np.float32)
    floats, integers = (run(inputs, 2, cotangent=cotangent, deterministic=way)[1] for way in (False, True))
    assert np.abs(floats - integers).max() <= 1e-6 * np.abs(floats).max()


@needs_nvrtc
@pytest.mark.parametrize('change, facts', [
    ((0, (1, 4, 5, 6)), ['6', 'deform_groups', '4']), ((1, (1, 4, 5, 70)), ['offset', '70', '72']),
    ((2, (1, 4, 5, 35)), ['mask', '35', '36'])])
def test_shapes_that_do_not_fit(cuda, change, facts):
    values = [np.zeros(shape, np.float32) for shape in ((1, 4, 5, 8), (1, 4, 5, 72), (1, 4, 5, 36))]
    values[change[0]] = np.zeros(change[1], np.float32)
    with tf.Graph().as_default(), session() as started:
        feeds = [tf.placeholder(tf.float32) for _ in values]
        columns = cuda_library.load().edvr_cuda_sample(*feeds, deform_groups=4, kernel_size=3)
        with raises_facts(tf.errors.InvalidArgumentError, *facts):
            started.run(columns, dict(zip(feeds, values)))


@on_double
@needs_nvrtc
def test_the_order_of_the_calls(cuda):
    """The driver is initialised before it is asked, the context before the kernels; the gradient is cleared first."""
    inputs = make_inputs((1, 4, 4, 8, 3, 2, 3), 'random')
    run(inputs, 2, cotangent=np.ones((1, 4, 4, 3), np.float32))
    found = calls(cuda)
    assert found[:2] == ['cuInit', 'cuDeviceGetCount']
    work = [line.split()[0] for line in found if not line.startswith(('cuDeviceGet', 'cuInit'))]
    assert work[0] == 'cuCtxGetCurrent'   # before anything that depends on the context
    launches = [line.split()[1] for line in found if line.startswith('cuLaunchKernel')]
    assert sorted(launches) == ['sample_f32_f32_4', 'sample_f32_f32_4', 'sample_grad_f32_f32_f32_4']
    gradient, = (place for place, line in enumerate(found) if line.startswith('cuLaunchKernel sample_grad_'))
    cleared, = (place for place, line in enumerate(found) if line.startswith('cuMemsetD8Async'))
    assert cleared < gradient


@on_double
@needs_nvrtc
@pytest.mark.parametrize('fails, facts', [
    ('cuLaunchKernel:719', ['cuLaunchKernel', 'CUDA_ERROR_LAUNCH_FAILED', '719']),
    ('cuCtxGetCurrent:4', ['cuCtxGetCurrent', '4']), ('cuMemsetD8Async:1', ['cuMemsetD8Async', '1']),
    ('', ['context'])])
def test_errors_of_the_driver_are_named(cuda, monkeypatch, fails, facts):
    cuda_library.load()
    monkeypatch.setenv('EDVR_DOUBLE_FAILS', fails)
    if not fails:
        monkeypatch.setenv('EDVR_DOUBLE_NO_CONTEXT', '1')
    inputs = make_inputs((1, 4, 4, 8, 3, 2, 3), 'random')
    with raises_facts(tf.errors.InternalError, 'deform_conv', *facts):
        run(inputs, 2, cotangent=np.ones((1, 4, 4, 3), np.float32))


@on_double
@needs_nvrtc
@pytest.mark.parametrize('fails, facts', [
    ('cuInit:100', ['no GPU', '100', 'nvidia-smi']), ('cuDeviceGetCount:999', ['no GPU', '999'])])
def test_a_host_without_gpus_says_so_once_and_takes_the_stock_way(cuda, monkeypatch, capfd, fails, facts):
    monkeypatch.setenv('EDVR_DOUBLE_FAILS', fails)
    assert not cuda_library.available() and not cuda_library.available()
    notices = capfd.readouterr().err.strip().splitlines()
    assert len(notices) == 1 and all(fact in notices[0] for fact in facts)
    with raises_facts(BuildError, *facts):
        cuda_library.load()


@on_double
def test_a_host_without_the_driver_takes_the_stock_way(monkeypatch, capfd):
    monkeypatch.setattr(cuda_library, 'DRIVER', 'libcuda_that_is_not_there.so.1')
    monkeypatch.setattr(cuda_library, '_state', {})
    for asked in ('auto', 'cuda'):
        device = device_of(RuntimeConfig(device='gpu', kernels=asked))
        assert device.kernels == 'tf' and not isinstance(device.ops(), cuda_ops.CudaOps)
    assert 'libcuda_that_is_not_there.so.1' in capfd.readouterr().err


@on_double
@needs_nvrtc
@pytest.mark.parametrize('asked, found', [('auto', 'cuda'), ('cuda', 'cuda'), ('tf', 'tf')])
def test_the_device_has_the_operator_unless_stock_operations_are_requested(cuda, asked, found):
    device = device_of(RuntimeConfig(device='gpu', kernels=asked))
    assert device.kernels == found and isinstance(device.ops(), cuda_ops.CudaOps) == (found == 'cuda')


@needs_nvrtc
@pytest.mark.parametrize('architecture', [70, 80, 90])
def test_nvrtc_compiles_the_kernels_without_spills(architecture):
    code, messages = cuda_library.compile_kernels(cuda_library.nvrtc(), architecture)
    assert code.startswith(b'\x7fELF')
    registers = {name: int(count) for name, count in re.findall(
        r"Compiling entry function '(\w+)'.*?Used (\d+) registers", messages, re.DOTALL)}
    print('sm_%d: %s' % (architecture, registers))
    assert len(registers) == 33 and max(registers.values()) <= 96
    assert set(re.findall(r'(\d+) bytes spill', messages)) == {'0'}


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Returns the path of a source with a single kernel, which is in place of that of all."""
    path = tmp_path / 'kernels.cu'
    path.write_text('extern "C" __global__ void kernel(int* x) { *x = 1; }')
    monkeypatch.setattr(cuda_library, 'KERNELS', str(path))
    return path


@needs_nvrtc
def test_compiling_leaves_the_locale(small):
    before = locale.nl_langinfo(locale.CODESET)
    cuda_library.compile_kernels(cuda_library.nvrtc(), 75)
    assert locale.nl_langinfo(locale.CODESET) == before


@needs_nvrtc
def test_a_newer_gpu_than_nvrtc_gets_ptx(small):
    assert b'.target sm_90' in cuda_library.compile_kernels(cuda_library.nvrtc(), 999)[0]


@needs_nvrtc
def test_source_that_does_not_compile_is_named(small):
    small.write_text('__global__ void kernel() { nonsense }')
    with raises_facts(BuildError, small, 'sm_80', 'nonsense'):
        cuda_library.compile_kernels(cuda_library.nvrtc(), 80)


@needs_nvrtc
@pytest.mark.parametrize('damage', ['', 'cut', 'changed'])
def test_compiled_kernels_are_kept_unless_damaged(small, monkeypatch, tmp_path, capfd, damage):
    monkeypatch.setenv(native_library.CACHE_VARIABLE, str(tmp_path))
    first = cuda_library.kernels_for(80)
    path, = (tmp_path / 'native').glob('cuda-kernels-sm80-*.bin')
    content = path.read_bytes()
    path.write_bytes({'': content, 'cut': content[:-10], 'changed': b'x' + content[1:]}[damage])
    capfd.readouterr()
    assert cuda_library.kernels_for(80) == first
    assert ('sm_80' in capfd.readouterr().err) == bool(damage)
    assert native_library.is_valid(str(path))


def test_an_exported_graph_needs_no_operator(monkeypatch, tmp_path):
    monkeypatch.setattr(cuda_library, 'available', lambda: pytest.fail('an exported graph does not use it'))
    with raises_facts(UserError, 'EDVR.pb'):
        load_graph(str(tmp_path / 'EDVR.pb'), device='gpu')


def test_the_nvrtc_of_the_wheels_comes_before_that_of_a_toolkit(monkeypatch, tmp_path):
    folder = tmp_path / 'nvidia' / 'cuda_nvrtc' / 'lib'
    folder.mkdir(parents=True)
    path = str(folder / 'libnvrtc.so.12')
    subprocess.run([native_library.compiler(), '-shared', '-fPIC', '-x', 'c++', os.devnull, '-o', path], check=True)
    monkeypatch.setattr(cuda_library, 'NVRTC', ('libc.so.6',))   # any library stands for that of the toolkit
    monkeypatch.setattr(cuda_library.sys, 'path', [str(tmp_path)])
    assert cuda_library.nvrtc()._name == path


def test_without_nvrtc_one_line_names_the_remedy(monkeypatch, tmp_path):
    monkeypatch.setattr(cuda_library, 'NVRTC', ('libnvrtc_that_is_not_there.so',))
    monkeypatch.setattr(cuda_library.sys, 'path', [str(tmp_path)])
    with raises_facts(BuildError, 'NVRTC', 'pip install', 'libnvrtc_that_is_not_there.so'):
        cuda_library.nvrtc()
