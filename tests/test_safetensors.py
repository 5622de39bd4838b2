"""The .safetensors files of weights: read, written, and refused by name if they are damaged or lie."""
import json
import os
import struct

import numpy as np
import pytest
from facts import check_error, raises_facts
from helpers import smooth_frames, tiny_checkpoint
from test_torch_weights import make_state

from data_tools.base.errors import UserError
from edvr import checkpoints
from edvr.pytorch import safetensors_file
from edvr.pytorch import weights as weights_files
from edvr.restore.restorer import Restorer

# written by the package safetensors 0.8.0: a is float32 [2, 2], b is float16 [3], c is a scalar int64
FOREIGN = (b'\xc8\0\0\0\0\0\0\0{"__metadata__":{"format":"pt"},"c":{"dtype":"I64","shape":[],"data_offsets":[0,8]},'
           b'"a":{"dtype":"F32","shape":[2,2],"data_offsets":[8,24]},'
           b'"b":{"dtype":"F16","shape":[3],"data_offsets":[24,30]}}     '
           b'\x07\0\0\0\0\0\0\0\0\0\0\0\0\0\x80?\0\0\0@\0\0@@\0\0\0<\0@')


def packed(header, data=bytes(16), length=None):
    """The bytes of a file; `header` is a value for JSON, or bytes."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack('<Q', len(text) if length is None else length) + text + data


def entry(dtype='F32', shape=(4,), offsets=(0, 16), **more):
    return dict(dtype=dtype, shape=list(shape), data_offsets=list(offsets), **more)


def load(tmp_path, data):
    path = tmp_path / 'x.safetensors'
    path.write_bytes(data)
    return safetensors_file.load(str(path))


def test_a_file_of_the_reference_package_is_read(tmp_path):
    found = load(tmp_path, FOREIGN)
    assert {name: (value.dtype, value.tolist()) for name, value in found.items()} == dict(
        a=(np.float32, [[0, 1], [2, 3]]), b=(np.float16, [0, 1, 2]), c=(np.int64, 7))


def test_bfloat16_is_read_as_float32(tmp_path):
    values = np.array([1, -2.5, 3e38, 0], '<f4')
    data = (values.view('<u4') >> 16).astype('<u2')
    found = load(tmp_path, packed({'x': entry('BF16', offsets=(0, 8))}, data.tobytes()))['x']
    assert found.dtype == np.float32 and np.array_equal(found.view('<u4'), data.astype('<u4') << 16)
    assert found[1] == -2.5


def test_written_files_are_read_and_are_equal_byte_for_byte(tmp_path):
    state, _ = make_state()
    paths = [str(tmp_path / name) for name in ('a.safetensors', 'b.safetensors')]
    safetensors_file.save(paths[0], state)
    safetensors_file.save(paths[1], dict(reversed(list(state.items()))))
    first, second = (open(path, 'rb').read() for path in paths)   # noqa: SIM115
    assert first == second and struct.unpack('<Q', first[:8])[0] % 8 == 0
    found = safetensors_file.load(paths[0])
    assert set(found) == set(state) and all(np.array_equal(found[name], state[name]) for name in state)


@pytest.mark.parametrize('data, facts', [
    (b'', ['0 bytes']), (b'1234567', ['7 bytes']), (packed({}, length=1 << 40), ['1099511627776 bytes']),
    (packed({}, length=0), ['header of 0 bytes']), (packed({}, length=200), ['header of 200 bytes']),
    (packed(b'[1]'), ['not a .safetensors file']), (packed(b'{"a":'), ['not JSON']), (packed(b'{\xff}'), ['not JSON']),
    (packed(b'{"a":' + b'[' * 90000 + b']' * 90000 + b'}'), ['not JSON']),
    (packed(b'{"a": 1, "a": 2}'), ['a name stands in it twice']),
    (packed({'__metadata__': {'a': 1}}), ['a is 1', 'a string']), (packed({'x': 3}), ['x is 3', 'an object']),
    (packed({'x': entry(other=1)}), ['x.other', 'absent']), (packed({'x': {}}), ['x.dtype', 'missing']),
    (packed({'x': entry('F8_E4M3')}), ['x.dtype', '"F8_E4M3"', '"F32"']), (packed({'x': entry('f4')}), ['"f4"']),
    (packed({'x': entry(shape=(-4,))}), ['x.shape[0]', -4]), (packed({'x': entry(shape=(4.,))}), ['x.shape[0]']),
    (packed({'x': entry(shape=(True, 4))}), ['x.shape[0]', 'true']),
    (packed({'x': entry(shape=[4] * 33)}), ['x.shape']),
    (packed({'x': entry(shape=(5,))}), ['tensor x', 'F32', '16 bytes', 20]),
    (packed({'x': entry(shape=(1 << 62, 1 << 62))}), ['tensor x', '16 bytes']),
    (packed({'x': entry(offsets=(0, 16, 16))}), ['x.data_offsets']),
    (packed({'x': entry(offsets=(16, 0))}), ['byte 16']),
    (packed({'x': entry(offsets=(-16, 0))}), ['x.data_offsets[0]', -16]),
    (packed({'x': entry()}, bytes(15)), ['cut', 'tensor x']),
    (packed({'x': entry()}, bytes(17)), ['describes']), (packed({}), ['describes']),
    (packed({'x': entry(offsets=(4, 20))}, bytes(20)), ['tensor x', 'byte 4', 'begin at 0']),
    (packed({'x': entry(), 'y': entry()}), ['tensor y', 'byte 0', 'begin at 16']),
    (packed({'x': entry(), 'y': entry(offsets=(15, 31))}, bytes(31)), ['tensor y', 'byte 15']),
])
def test_files_that_are_damaged_or_lie_are_refused(tmp_path, data, facts):
    with raises_facts(UserError, 'x.safetensors', *facts):
        load(tmp_path, data)


def test_empty_tensors_stand_anywhere_between_others(tmp_path):
    found = load(tmp_path, packed({'x': entry(), 'e': entry(shape=(0, 3), offsets=(0, 0)), 's': entry(
        shape=(2, 0), offsets=(16, 16))}))
    assert [found[name].shape for name in 'xes'] == [(4,), (0, 3), (2, 0)]


def test_what_cannot_be_read_is_named(tmp_path):
    with raises_facts(UserError, 'none.safetensors', 'cannot be read', 'No such file'):
        safetensors_file.load(str(tmp_path / 'none.safetensors'))
    os.mkfifo(str(tmp_path / 'x.safetensors'))
    with raises_facts(UserError, 'x.safetensors', 'FIFO'):
        safetensors_file.load(str(tmp_path / 'x.safetensors'))


@pytest.mark.parametrize('change, facts', [
    (lambda state: state.update({'conv_l2_1.weight': np.zeros((), np.float32)}), ['conv_l2_1.weight', '()']),
    (lambda state: state.update({'conv_l2_1.weight': np.zeros((0, 8, 3, 3), np.float32)}),
     ['conv_l2_1.weight', '(0, 8, 3, 3)']),
    (lambda state: state.update({'conv_hr.weight': np.zeros(3, np.float32)}), ['conv_hr.weight has shape (3,)']),
    (lambda state: state.update({'conv_last.bias': np.float32([1, 2, np.inf])}), ['conv_last.bias', 'not finite']),
    (lambda state: state.pop('conv_last.bias'), ['missing: conv_last.bias'])])
def test_weights_of_no_network_make_no_directory(tmp_path, change, facts):
    state, _ = make_state()
    change(state)
    safetensors_file.save(str(tmp_path / 'x.safetensors'), state)
    with raises_facts(UserError, 'x.safetensors', *facts):
        weights_files.import_weights(str(tmp_path / 'x.safetensors'), str(tmp_path / 'model'))
    assert not (tmp_path / 'model').exists()


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_a_network_of_one_deform_group_goes_out_and_comes_back_with_its_frames(tmp_path, suffix):
    """That of flags/edvr_m_g1.cfg, but for its size."""
    if suffix == '.pth':
        pytest.importorskip('torch')
    first, path, second = tiny_checkpoint(tmp_path / 'first', deform_groups=1), str(tmp_path / ('x' + suffix)), str(
        tmp_path / 'second')
    weights_files.export_weights(first, path)
    _, config, _ = weights_files.import_weights(path, second)
    assert config.deform_groups == 1 and config == checkpoints.load_model_config(first)
    frames = smooth_frames(2, 8, 12)
    restored = []
    for checkpoint in (first, second):
        with Restorer(checkpoint, kernels='tf') as restorer:
            restored.append(restorer.restore(frames, np.float32))
    np.testing.assert_array_equal(*restored)


def test_programs_need_no_torch(run_program, tmp_path):
    """A file goes in and comes out bit for bit; one that is cut is named and leaves nothing."""
    (tmp_path / 'torch.py').write_text('raise ImportError("no torch here")')
    without = dict(PYTHONPATH=str(tmp_path))
    state, _ = make_state()
    source, target, model = (str(tmp_path / name) for name in ('in.safetensors', 'out.SafeTensors', 'model'))
    safetensors_file.save(source, {'generator.' + name: value for name, value in state.items()})
    done = run_program('edvr.import_weights', '--from=' + source, '--output_dir=' + model, '--verify', env=without)
    assert done.returncode == 0, done.stderr
    assert 'num_frames=3' in done.stdout and 'not verified' in done.stdout
    done = run_program('edvr.export_weights', '--checkpoint=' + model, '--output=' + target, env=without)
    assert done.returncode == 0, done.stderr
    again = safetensors_file.load(target)
    assert set(again) == set(state) and all(np.array_equal(again[name], state[name]) for name in state)
    os.truncate(source, os.path.getsize(source) - 1)
    done = run_program('edvr.import_weights', '--from=' + source, '--output_dir=' + model + '2', env=without)
    check_error(done, source, 'cut')
    assert not os.path.exists(model + '2')
