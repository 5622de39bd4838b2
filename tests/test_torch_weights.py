"""PyTorch checkpoints in and out: names of three families, layouts, refusals. Only the programs need torch."""
import io
import pickle
import sys
import tarfile
import types
import zipfile

import numpy as np
import pytest
from facts import check_error, raises_facts

from data_tools.base.errors import UserError
from edvr import checkpoints
from edvr.config import ModelConfig
from edvr.pytorch import pth_file, state_dict
from edvr.pytorch import weights as weights_files

TINY = dict(num_frames=3, channels=8, deform_groups=2, num_extract_block=1, num_reconstruct_block=2)
VARIANTS = [{}, dict(with_tsa=False), dict(with_predeblur=True), dict(with_predeblur=True, hr_in=True),
            dict(hr_in=True), dict(scale=2), dict(scale=3), dict(num_frames=5, deform_groups=8), dict(deform_groups=1)]

# Keys as the three families publish them, each beside the reference's of the same layer
FIRST_RELEASE = {
    'fea_L2_conv1': 'conv_l2_1', 'fea_L2_conv2': 'conv_l2_2', 'fea_L3_conv1': 'conv_l3_1', 'fea_L3_conv2': 'conv_l3_2',
    'recon_trunk.0.conv1': 'reconstruction.0.conv1', 'HRconv': 'conv_hr', 'upconv1': 'upconv1',
    'feature_extraction.0.conv2': 'feature_extraction.0.conv2',
    'pcd_align.L3_offset_conv1': 'pcd_align.offset_conv1.l3', 'pcd_align.L1_offset_conv3': 'pcd_align.offset_conv3.l1',
    'pcd_align.L3_dcnpack': 'pcd_align.dcn_pack.l3', 'pcd_align.L2_fea_conv': 'pcd_align.feat_conv.l2',
    'pcd_align.L1_dcnpack.conv_offset_mask': 'pcd_align.dcn_pack.l1.conv_offset',
    'pcd_align.cas_dcnpack.conv_offset_mask': 'pcd_align.cas_dcnpack.conv_offset',
    'pcd_align.cas_offset_conv2': 'pcd_align.cas_offset_conv2',
    'tsa_fusion.tAtt_1': 'fusion.temporal_attn2', 'tsa_fusion.tAtt_2': 'fusion.temporal_attn1',
    'fusion.tAtt_2': 'fusion.temporal_attn1', 'tsa_fusion.fea_fusion': 'fusion.feat_fusion',
    'tsa_fusion.sAtt_5': 'fusion.spatial_attn5', 'tsa_fusion.sAtt_L3': 'fusion.spatial_attn_l3',
    'tsa_fusion.sAtt_add_2': 'fusion.spatial_attn_add2', 'tsa_fusion': 'fusion',
    'pre_deblur.conv_first': 'predeblur.conv_first', 'pre_deblur.conv_first_1': 'predeblur.conv_first',
    'pre_deblur.conv_first_3': 'predeblur.stride_conv_hr2', 'pre_deblur.deblur_L3_conv': 'predeblur.stride_conv_l3',
    'pre_deblur.RB_L1_5.conv1': 'predeblur.resblock_l1.4.conv1', 'pre_deblur.RB_L2_1.conv2':
        'predeblur.resblock_l2_1.conv2', 'pre_deblur.RB_L3_1.conv1': 'predeblur.resblock_l3.conv1',
    'conv_first_2': 'conv_first_2',
}
MMEDITING = {
    'feat_l2_conv1.conv': 'conv_l2_1', 'feat_l3_conv2.conv': 'conv_l3_2', 'conv_first': 'conv_first',
    'pcd_alignment.offset_conv1.l3.conv': 'pcd_align.offset_conv1.l3',
    'pcd_alignment.dcn_pack.l2.conv_offset': 'pcd_align.dcn_pack.l2.conv_offset',
    'pcd_alignment.dcn_pack.l2': 'pcd_align.dcn_pack.l2', 'pcd_alignment.feat_conv.l1.conv': 'pcd_align.feat_conv.l1',
    'pcd_alignment.cas_offset_conv1.conv': 'pcd_align.cas_offset_conv1',
    'fusion.temporal_attn1': 'fusion.temporal_attn1',
    'fusion.feat_fusion.conv': 'fusion.feat_fusion', 'fusion.spatial_attn_add1.conv': 'fusion.spatial_attn_add1',
    'upsample1.upsample_conv': 'upconv1', 'upsample2.upsample_conv': 'upconv2', 'conv_last': 'conv_last',
}


def make_state(seed=0, **options):
    """A state as PyTorch would hold it, and its configuration."""
    config = ModelConfig(**dict(TINY, **options))
    random = np.random.RandomState(seed)
    return {name.replace('/', '.'): random.randn(*state_dict.torch_shape(shape)).astype(np.float32)
            for name, shape in state_dict.variable_shapes(config).items()}, config


@pytest.mark.parametrize('prefix', ['', 'module.', 'generator.', 'module.generator.'])
@pytest.mark.parametrize('names', [FIRST_RELEASE, MMEDITING], ids=['first release', 'mmediting'])
def test_names(names, prefix):
    for key, wanted in names.items():
        for kind in ('.weight', '.bias'):
            assert state_dict.rename(prefix + key + kind) == wanted + kind


def test_names_of_the_reference_pass():
    for options in VARIANTS:
        for name in make_state(**options)[0]:
            assert state_dict.rename(name) == name


@pytest.mark.parametrize('options', VARIANTS, ids=str)
def test_architecture_and_round_trip(options):
    state, config = make_state(**options)
    assert state_dict.infer_config(state, 'x.pth') == config
    again = state_dict.to_state(state_dict.to_weights(state, config, 'x.pth'), config)
    assert set(again) == set(state)
    assert all(np.array_equal(again[name], state[name]) for name in state)


def test_offset_channels():
    """(dy, dx) pairs per group and point, then masks, become all dx, all dy, all masks."""
    state, config = make_state()
    name = 'pcd_align.dcn_pack.l2.conv_offset'
    weights = state_dict.to_weights(state, config, 'x.pth')
    bias, weight = (weights[name.replace('.', '/') + kind] for kind in ('/bias', '/weight'))
    group, point = 1, 5
    assert bias[group * 9 + point] == state[name + '.bias'][group * 18 + 2 * point + 1]
    assert bias[18 + group * 9 + point] == state[name + '.bias'][group * 18 + 2 * point]
    assert bias[36 + group * 9 + point] == state[name + '.bias'][36 + group * 9 + point]
    assert np.array_equal(weight[0, 2, :, group * 9 + point],
                          state[name + '.weight'][group * 18 + 2 * point + 1, :, 0, 2])


@pytest.mark.parametrize('options, layer, factor', [({}, 'upconv1', 2), ({}, 'upconv2', 2),
                                                    (dict(scale=3), 'upconv1', 3)], ids=str)
def test_pixel_shuffle_channels(options, layer, factor):
    """(c, dy, dx) becomes (dy, dx, c)."""
    state, config = make_state(**options)
    bias = state_dict.to_weights(state, config, 'x.pth')[layer + '/bias']
    theirs = state[layer + '.bias'].reshape(-1, factor, factor)
    assert np.array_equal(bias.reshape(factor, factor, -1), theirs.transpose(1, 2, 0))


@pytest.mark.parametrize('wrap', [lambda state: state, lambda state: {'params': state},
                                  lambda state: {'params': {}, 'params_ema': state, 'iter': 1},
                                  lambda state: {'state_dict': {'generator.' + name: value for name, value in
                                                                state.items()}, 'meta': {}},
                                  lambda state: {'module.' + name: value for name, value in state.items()}])
def test_wrappings(wrap):
    state = make_state()[0]
    found = state_dict.state_of(wrap(state), 'x.pth')
    assert set(found) == set(state) and all(np.array_equal(found[name], state[name]) for name in state)


def test_a_file_with_both_weights(tmp_path, capsys, monkeypatch):
    """BasicSR's default is taken and printed; the other is a matter of a flag."""
    (plain, _), (averaged, _) = make_state(0), make_state(1)
    monkeypatch.setattr(pth_file, 'load', lambda path: {'params': plain, 'params_ema': averaged})
    for number, (key, wanted) in enumerate([('auto', plain), ('params', plain), ('params_ema', averaged)]):
        state = weights_files.import_weights('x.pth', str(tmp_path / str(number)), key)[2]
        assert np.array_equal(state['conv_hr.bias'], wanted['conv_hr.bias'])
        output = capsys.readouterr().out
        assert 'took %s ' % ('params' if key == 'auto' else key) in output and '--param_key' in output
    with raises_facts(UserError, 'x.pth', 'state_dict', 'params and params_ema', '--param_key'):
        state_dict.state_of({'params': plain, 'params_ema': averaged}, 'x.pth', 'state_dict')
    with raises_facts(UserError, 'x.pth', 'params_ema'):
        state_dict.state_of(plain, 'x.pth', 'params_ema')


@pytest.mark.parametrize('kind', ['bfloat16', 'float16', 'float64'])
def test_types_of_tensors(tmp_path, kind):
    torch = pytest.importorskip('torch')
    values = torch.tensor([1., -3.140625, 2. ** -20])   # exact in all of them
    torch.save({'params': {'conv_hr.bias': values.to(getattr(torch, kind))}}, str(tmp_path / 'x.pth'))
    found = state_dict.state_of(pth_file.load(str(tmp_path / 'x.pth')), 'x.pth')['conv_hr.bias']
    assert found.dtype == np.float32 and np.array_equal(found, values.numpy())


def test_tensors_that_are_not_dense_are_named(tmp_path):
    torch = pytest.importorskip('torch')
    torch.save({'params': {'conv_hr.bias': torch.ones(3).to_sparse()}}, str(tmp_path / 'x.pth'))
    with raises_facts(UserError, 'x.pth', 'conv_hr.bias', 'dense', 'float32'):
        pth_file.load(str(tmp_path / 'x.pth'))


@pytest.mark.parametrize('content, facts', [
    (b'', ['empty', 'download it again']),
    (b'<!DOCTYPE html>\n<html>not found</html>', ['text', '<!DOCTYPE html>', 'page']),
    ('version https://git-lfs.github.com/spec/v1\nf\u00fcr'.encode(), ['text', 'git-lfs', 'pointer']),
    ('\u00e9'.encode() * 1000, ['text'])])
def test_empty_files_and_texts(tmp_path, content, facts):
    pytest.importorskip('torch')
    (tmp_path / 'x.pth').write_bytes(content)
    with raises_facts(UserError, 'x.pth', *facts):
        pth_file.load(str(tmp_path / 'x.pth'))


def test_missing_and_unknown_keys_are_named():
    state, config = make_state()
    del state['conv_hr.bias']
    state['discriminator.weight'] = np.zeros(3, np.float32)
    state['conv_last.bias'] = np.zeros(4, np.float32)
    with pytest.raises(UserError) as error:
        state_dict.to_weights(state, config, 'x.pth')
    for text in ('x.pth', 'missing: conv_hr.bias', 'unknown: discriminator.weight',
                 'conv_last.bias has shape (4,), expected (3,)'):
        assert text in str(error.value)


def test_what_is_no_edvr():
    with raises_facts(UserError, 'x.pth', 'conv_l2_1.weight', 'not an EDVR'):
        state_dict.infer_config({'a.weight': np.zeros(3)}, 'x.pth')
    with pytest.raises(UserError, match=r'x.pth holds no weights'):
        state_dict.state_of({'epoch': 3}, 'x.pth')
    with raises_facts(UserError, 'HRconv.bias', 'conv_hr.bias', 'both'):
        state_dict.state_of({'HRconv.bias': np.zeros(3), 'conv_hr.bias': np.zeros(3)}, 'x.pth')
    state, _ = make_state()
    state['fusion.feat_fusion.weight'] = np.zeros((8, 32, 1, 1), np.float32)
    with pytest.raises(UserError, match='describe no EDVR: num_frames is 4'):
        state_dict.infer_config(state, 'x.pth')


def test_saved_checkpoint_is_a_model_directory(tmp_path):
    state, config = make_state()
    weights = state_dict.to_weights(state, config, 'x.pth')
    weights_files.save(weights, config, str(tmp_path))
    loaded, loaded_config = weights_files.load(str(tmp_path))
    assert loaded_config == config and checkpoints.latest(str(tmp_path)).endswith('model.ckpt-0')
    assert set(loaded) == set(weights) and all(np.array_equal(loaded[name], weights[name]) for name in weights)
    with pytest.raises(UserError, match='already holds a checkpoint'):
        weights_files.save(weights, config, str(tmp_path))


def test_programs_without_torch(run_program, tmp_path):
    (tmp_path / 'torch.py').write_text('raise ImportError()')
    done = run_program('edvr.import_weights', '--from=x.pth', '--output_dir=%s' % (tmp_path / 'model'),
                       env=dict(PYTHONPATH=str(tmp_path)))
    check_error(done, 'PyTorch')
    assert not (tmp_path / 'model').exists()


def test_programs(run_program, tmp_path):
    """A .pth goes in and comes out bit for bit."""
    torch = pytest.importorskip('torch')
    state, _ = make_state()
    source, target = tmp_path / 'in.pth', tmp_path / 'out.pth'
    torch.save({'params': {'module.' + name: torch.from_numpy(value) for name, value in state.items()}}, str(source))
    model = tmp_path / 'model'
    done = run_program('edvr.import_weights', '--from=%s' % source, '--output_dir=%s' % model, '--verify')
    assert done.returncode == 0, done.stderr
    assert 'num_frames=3' in done.stdout and 'verified' in done.stdout
    done = run_program('edvr.export_weights', '--checkpoint=%s' % (tmp_path / 'model'), '--output=%s' % target)
    assert done.returncode == 0, done.stderr
    again = torch.load(str(target), weights_only=True)['params']
    assert set(again) == set(state) and all(np.array_equal(again[name].numpy(), state[name]) for name in state)


def test_weights_that_are_not_finite_are_named():
    state = {'a': np.zeros(2, np.float32), 'b': np.array([1, np.nan], np.float32)}
    with raises_facts(UserError, 'x.pth', 'b', 'not finite'):
        weights_files.check_finite(state, 'x.pth')
    weights_files.check_finite({'a': state['a']}, 'x.pth')


def test_files_that_are_no_checkpoints(tmp_path):
    pytest.importorskip('torch')
    with raises_facts(UserError, 'none.pth', 'cannot be read', 'No such file'):
        pth_file.load(str(tmp_path / 'none.pth'))
    (tmp_path / 'bad.pth').write_bytes(b'no weights\0')
    with pytest.raises(UserError, match=r'bad.pth: not a PyTorch checkpoint of plain tensors: (?!.*weights_only)'):
        pth_file.load(str(tmp_path / 'bad.pth'))


@pytest.mark.parametrize('place', [.25, .5, .75])
def test_one_flipped_bit_in_a_checkpoint_is_found(tmp_path, place):
    torch = pytest.importorskip('torch')
    path = tmp_path / 'x.pth'
    torch.save({'params': {'conv_first.weight': torch.ones(100000)}}, str(path))
    assert pth_file.load(str(path))['params']['conv_first.weight'].sum() == 100000
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] ^= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match=r'x\.pth is damaged: .* CRC .*download it again'):
        pth_file.load(str(path))


def test_a_checkpoint_written_without_checksums_is_read(tmp_path):
    torch = pytest.importorskip('torch')
    if not hasattr(torch.serialization, 'set_crc32_options'):
        pytest.skip('this PyTorch always writes checksums')
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({'params': {'conv_first.weight': torch.ones(3)}}, str(tmp_path / 'x.pth'))
    finally:
        torch.serialization.set_crc32_options(True)
    assert pth_file.load(str(tmp_path / 'x.pth'))['params']['conv_first.weight'].sum() == 3


class Payload:
    """An object that calls any function when it is unpickled."""

    def __init__(self, path):
        self._path = path

    def __reduce__(self):
        return open, (self._path, 'w')


@pytest.mark.parametrize('wrapped', [False, True])
def test_a_file_with_code_runs_nothing(tmp_path, wrapped):
    torch = pytest.importorskip('torch')
    trap, source = tmp_path / 'trap', tmp_path / 'bad.pth'
    payload = Payload(str(trap))
    torch.save({'params': {'conv_first.weight': torch.zeros(3), 'conv_first.bias': payload}} if wrapped else payload,
               str(source))
    with raises_facts(UserError, 'bad.pth', 'PyTorch checkpoint', 'plain tensors'):
        weights_files.import_weights(str(source), str(tmp_path / 'model'))
    assert not trap.exists() and not (tmp_path / 'model').exists()
    source.write_bytes(pickle.dumps(payload))   # without PyTorch's container
    with raises_facts(UserError, 'bad.pth', 'PyTorch checkpoint', 'plain tensors'):
        pth_file.load(str(source))
    assert not trap.exists()


def zip_of(names, prefix=b''):
    data = io.BytesIO(prefix)
    data.seek(0, 2)
    with zipfile.ZipFile(data, 'w') as archive:
        for name in names:
            archive.writestr(name, pickle.dumps({}, 2))
    return data.getvalue()


def two_directories():
    """Returns a zip file in which Python finds x/ddd..., and PyTorch, by the stated offset, x/constants.pkl."""
    hidden = zip_of(['x/constants.pkl', 'x/data.pkl'])
    start, least = (data.index(b'PK\x01\x02') for data in (hidden, zip_of(['x/'])))
    return hidden + zip_of(['x/' + 'd' * (start - least)])


def tar_file(name):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode='w', format=tarfile.USTAR_FORMAT, encoding='latin-1') as archive:
        archive.addfile(tarfile.TarInfo(name))
    return data.getvalue()


@pytest.mark.parametrize('content, facts', [
    (zip_of(['x/data.pkl', 'x/code/__torch__.py', 'x/constants.pkl']), ['TorchScript', 'code', 'state_dict']),
    (zip_of(['a/b/data.pkl', 'a/b/constants.pkl']), ['TorchScript']),
    (b'PK\x03\x04' + b'\0' * ((1 << 22) - 9) + b'constants.pkl', ['TorchScript']),   # across two blocks of 4 MiB
    (two_directories(), ['TorchScript']),
    (tar_file('storages'), ['tar file']), (tar_file('\x80\x02storages'), ['tar file']),
    (zip_of(['x/data.pkl'], b'#!/bin/sh\0'), ['#!/b', 'neither', 'zip', 'pickle']),
    (b'\x1f\x8b\x08' + bytes(999), ['neither', 'zip', 'pickle'])])
def test_what_old_torch_runs_or_unpacks_does_not_reach_it(tmp_path, monkeypatch, content, facts):
    """Its torch.load takes TorchScript archives and tar files before it looks at weights_only."""
    def load(f, map_location=None, weights_only=False):
        raise AssertionError('a file was opened')

    monkeypatch.setitem(sys.modules, 'torch', types.SimpleNamespace(load=load, __version__='1.13.1'))
    (tmp_path / 'x.pth').write_bytes(content)
    with raises_facts(UserError, 'x.pth', *facts):
        pth_file.load(str(tmp_path / 'x.pth'))


def test_a_torchscript_archive_is_refused(tmp_path):
    torch = pytest.importorskip('torch')
    torch.jit.save(torch.jit.script(torch.nn.Conv2d(3, 3, 3)), str(tmp_path / 'x.pth'))
    with raises_facts(UserError, 'x.pth', 'TorchScript', 'state_dict'):
        pth_file.load(str(tmp_path / 'x.pth'))


def test_old_torch_is_refused_by_version(monkeypatch):
    """Its torch.load would run the code in a file."""
    def load(f, map_location=None, pickle_module=None, **pickle_load_args):
        raise AssertionError('a file was opened')

    monkeypatch.setitem(sys.modules, 'torch', types.SimpleNamespace(load=load, __version__='1.12.1'))
    with raises_facts(UserError, 'PyTorch 1.12.1', 'too old', 'x.pth', '1.13'):
        pth_file.load('x.pth')


def test_a_damaged_checkpoint_is_not_exported(tmp_path, monkeypatch):
    state, config = make_state()
    prefix = weights_files.save(state_dict.to_weights(state, config, 'x.pth'), config, str(tmp_path))
    with open(prefix + '.data-00000-of-00001', 'r+b') as file:
        file.write(b'\0\0\0\0')
    monkeypatch.setattr(pth_file, 'import_torch', lambda: None)
    with raises_facts(UserError, 'model.ckpt-0.data-00000-of-00001', 'damaged'):
        weights_files.export_weights(str(tmp_path), str(tmp_path / 'x.pth'))
    assert not (tmp_path / 'x.pth').exists()
