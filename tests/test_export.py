"""Every kind of exported graph gives what its checkpoint gives, and nothing is written that does not."""
import copy
import importlib
import json
import os

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from facts import check_error, raises_facts
from helpers import smooth_frames, tiny_checkpoint
from npu_fixtures import needs_adapter, no_job, npu  # noqa: F401 fixtures

from data_tools.base.errors import UserError
from edvr import checkpoints
from edvr.config import ConfigError, ModelConfig
from edvr.config.export import ExportConfig, InterfaceConfig
from edvr.devices import adapter
from edvr.exporting import ascend, freezing
from edvr.exporting.export_job import export
from edvr.exporting.formats import Frozen
from edvr.exporting.graphs import WholeGraph
from edvr.exporting.loading import FrozenGraph
from edvr.ops import ascend_nodes
from edvr.ops.stock import StockOps


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    return tiny_checkpoint(tmp_path_factory.mktemp('train'), ema=True)


@pytest.fixture(scope='module')
def expected(checkpoint, shared_reference):
    """Windows, and what the checkpoint gives for them with averaged weights (True) and without (False)."""
    windows = np.stack([smooth_frames(3, 16, 24, seed) for seed in (5, 6)])
    model = checkpoints.load_model_config(checkpoint)
    return windows, {use_ema: shared_reference(checkpoint, model, [windows], use_ema)[0] for use_ema in (True, False)}


def run(checkpoint, path, **options):
    return export(ExportConfig(checkpoint=checkpoint, output=str(path), **options), log=lambda line: None)


def placeholders(path):
    graph_def = tf.GraphDef()
    with open(str(path), 'rb') as file:
        graph_def.ParseFromString(file.read())
    nodes = {node.name: node for node in graph_def.node}
    assert [node.name for node in graph_def.node if node.op == 'Placeholder'] == ['L_input']
    assert not [node for node in graph_def.node if 'Variable' in node.op]
    return nodes


@pytest.fixture(scope='module')
def shared_reference(checkpoint):
    """`freezing.reference` for this checkpoint that builds its graph once."""
    model, restored = checkpoints.load_model_config(checkpoint), []
    with tf.Graph().as_default() as graph:
        WholeGraph(model, InterfaceConfig()).build(StockOps())

    def reference(prefix, config, batches, use_ema=True):
        assert (prefix, config) == (checkpoint, model)
        if restored != [use_ema]:
            with graph.as_default():
                names = checkpoints.restore_map(prefix, tf.global_variables(), use_ema)
                tf.train.Saver(names).restore(session, prefix)
            restored[:] = [use_ema]
        return [session.run('SR_output:0', {'L_input:0': windows}) for windows in batches]

    with tf.Session(graph=graph) as session:
        yield reference


@pytest.fixture(scope='module')
def shared_freeze():
    """`freezing.freeze` that freezes the same graph once."""
    frozen, freeze = {}, freezing.freeze

    def shared(prefix, graph, ops, use_ema=True):
        key = prefix, graph, type(ops), use_ema
        if key not in frozen:
            frozen[key] = freeze(prefix, graph, ops, use_ema)
        return copy.deepcopy(frozen[key])
    return shared


@pytest.fixture
def shared(monkeypatch, shared_reference, shared_freeze):
    """Exports build no graph that another test has built."""
    monkeypatch.setattr(freezing, 'reference', shared_reference)
    monkeypatch.setattr(freezing, 'freeze', shared_freeze)


@pytest.mark.parametrize('options, shape, dtype', [
    (dict(), [-1, 3, -1, -1, 3], 'uint8'),
    (dict(batch_size=2, input_rank=4, output_dtype='uint8', use_ema=False), [6, -1, -1, 3], 'uint8'),
    (dict(batch_size=1, height=16, width=24, input_dtype='float32'), [1, 3, 16, 24, 3], 'float32'),
    (dict(input_rank=4, height=16, width=24, output_dtype='uint8'), [-1, 16, 24, 3], 'uint8')])
def test_every_interface_round_trips(checkpoint, expected, shared, tmp_path, options, shape, dtype):
    path = tmp_path / 'EDVR.pb'
    content = run(checkpoint, path, **options)
    node = placeholders(path)['L_input']
    assert [axis.size for axis in node.attr['shape'].shape.dim] == shape
    assert tf.as_dtype(node.attr['dtype'].type).name == dtype
    assert sorted(os.listdir(str(tmp_path))) == ['EDVR.json', 'EDVR.pb']
    assert json.loads((tmp_path / 'EDVR.json').read_text()) == content
    assert content['input']['shape'] == shape and content['input']['name'] == 'L_input'
    assert content['verification']['max_abs_diff'] <= 1.001 / 255
    windows, want = expected[0], expected[1][options.get('use_ema', True)]
    assert np.abs(expected[1][True] - expected[1][False]).max() > 0.01   # so the wrong weights would show
    with FrozenGraph(str(path)) as graph:
        got = np.concatenate([graph.run(window[None]) for window in windows])
    if options.get('output_dtype') == 'uint8':
        assert np.abs(got - np.clip(want, 0, 1)).max() <= 0.5 / 255 + 1e-5
    else:
        assert np.abs(got - want).max() < 1e-5


@pytest.mark.parametrize('options', [
    dict(), dict(parts=True), dict(kernels='npu', height=16, width=24, output_dtype='uint8')])
def test_two_exports_of_a_checkpoint_are_the_same_bytes(checkpoint, shared_reference, shared_freeze, tmp_path,
                                                        monkeypatch, options):
    """Compares exports of which the second builds its graphs; the first may have those of another test."""
    monkeypatch.setattr(freezing, 'reference', shared_reference)   # its values are in no graph
    first, second = tmp_path / 'first', tmp_path / 'second'
    with monkeypatch.context() as patch:
        patch.setattr(freezing, 'freeze', shared_freeze)
        run(checkpoint, first / 'EDVR.pb', **options)
    run(checkpoint, second / 'EDVR.pb', **options)
    graphs = sorted(path.name for path in first.glob('*.pb'))
    assert len(graphs) == (2 if 'parts' in options else 1)
    for name in graphs:
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_averaged_weights_are_taken_unless_switched_off(checkpoint, shared_freeze):
    model = checkpoints.load_model_config(checkpoint)
    consts = []
    for use_ema in (True, False):
        graph = WholeGraph(model, InterfaceConfig(batch_size=1, height=16, width=24))
        graph_def, averaged = shared_freeze(checkpoint, graph, StockOps(), use_ema)
        assert averaged == use_ema
        consts.append({node.name: tf.make_ndarray(node.attr['value'].tensor) for node in graph_def.node
                       if node.op == 'Const' and node.name.endswith('conv_last/weight')})
    reader = tf.train.load_checkpoint(checkpoint)
    (name, averaged), = consts[0].items()
    np.testing.assert_array_equal(averaged, reader.get_tensor(name + '/ExponentialMovingAverage'))
    np.testing.assert_array_equal(consts[1][name], reader.get_tensor(name))


def test_saved_model_serves_and_replaces_only_a_saved_model(checkpoint, shared, tmp_path):
    path = tmp_path / 'edvr' / '1'
    content = run(checkpoint, path, format='saved_model')
    assert content['verification']['max_abs_diff'] < 1e-5
    with tf.Graph().as_default(), tf.Session() as session:
        meta = tf.saved_model.loader.load(session, ['serve'], str(path))
        signature = meta.signature_def['serving_default']
        assert signature.inputs['L_input'].name == 'L_input:0'
        sr = session.run(signature.outputs['SR_output'].name, {'L_input:0': smooth_frames(3, 8, 12)[None]})
    assert sr.shape == (1, 32, 48, 3)
    assert sorted(os.listdir(str(tmp_path / 'edvr'))) == ['1']
    (tmp_path / 'mine').mkdir()
    with pytest.raises(UserError, match='exists and is not a SavedModel'):
        run(checkpoint, tmp_path / 'mine', format='saved_model')
    assert os.listdir(str(tmp_path / 'mine')) == []


def test_a_graph_that_differs_is_not_written_and_the_old_one_stays(checkpoint, tmp_path, monkeypatch):
    path = tmp_path / 'EDVR.pb'
    path.write_bytes(b'old')
    monkeypatch.setattr(freezing, 'reference', lambda prefix, model, batches, use_ema: [
        np.full((len(windows), windows.shape[2] * 4, windows.shape[3] * 4, 3), np.nan, np.float32)
        for windows in batches])
    with raises_facts(UserError, 'difference nan', 1e-05, 'nothing was written'):
        run(checkpoint, path, batch_size=1, height=8, width=8)
    assert path.read_bytes() == b'old' and os.listdir(str(tmp_path)) == ['EDVR.pb']


def test_weights_that_are_not_finite_are_refused_by_name(tmp_path):
    prefix = tiny_checkpoint(tmp_path)
    with tf.Graph().as_default(), tf.Session() as session:
        reader = tf.train.load_checkpoint(prefix)
        for name in reader.get_variable_to_shape_map():
            value = reader.get_tensor(name)
            if name.endswith('conv_last/bias'):
                value[1] = np.nan
            tf.get_variable(name, initializer=value)
        session.run(tf.global_variables_initializer())
        tf.train.Saver().save(session, prefix)
    with pytest.raises(UserError, match='conv_last/bias contains NaN'):
        run(prefix, tmp_path / 'EDVR.pb')
    assert not (tmp_path / 'EDVR.pb').exists()


def test_what_cannot_be_written_is_named(checkpoint, tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match=r'cannot write .*/file: '):
        run(checkpoint, tmp_path / 'file' / 'EDVR.pb')
    (tmp_path / 'folder.pb').mkdir()
    with pytest.raises(UserError, match=r'folder\.pb is a folder'):
        run(checkpoint, tmp_path / 'folder.pb', batch_size=1, height=8, width=8)
    with raises_facts(UserError, '--width=18', 'multiples of 4'):
        run(checkpoint, tmp_path / 'EDVR.pb', height=16, width=18)


@pytest.mark.parametrize('options, text', [
    (dict(checkpoint=''), '--checkpoint is not given'),
    (dict(output='EDVR'), 'must end in .pb'),
    (dict(output='x.pb', format='saved_model'), 'a folder: a name without .pb'),
    (dict(batch_size=0), 'batch_size is 0'),
    (dict(kernels='npu', height=16), 'the Ascend operator needs both fixed'),
    (dict(kernels='npu', height=16, width=16, format='saved_model'), 'only frozen graphs are written')])
def test_options_that_contradict_each_other(options, text):
    with pytest.raises(ConfigError, match=text):
        ExportConfig(**dict(dict(checkpoint='train'), **options))


def test_atc_command_has_the_shapes_filled_in():
    model = ModelConfig(num_frames=5)

    def command(**fields):
        config = ExportConfig(checkpoint='run', **dict(dict(soc_version='Ascend310P3'), **fields))
        return ascend.atc_command('out/EDVR.pb', WholeGraph(model, config.interface), config)

    assert command(batch_size=1, height=180, width=320) == (
        'atc --framework=3 --model=out/EDVR.pb --output=out/EDVR --soc_version=Ascend310P3 --input_format=ND '
        '--input_shape="L_input:1,5,180,320,3" --out_nodes="SR_output:0" '
        '--precision_mode=allow_fp32_to_fp16')
    assert '--input_shape="L_input:-1,5,180,320,3"' in command(height=180, width=320)
    assert command(height=180, width=320).endswith('--dynamic_dims="1;2;4;8" --precision_mode=allow_fp32_to_fp16')
    rank_4 = command(height=180, width=320, input_rank=4)
    assert '--input_format=NHWC --input_shape="L_input:-1,180,320,3"' in rank_4
    assert '--dynamic_batch_size="5,10,20,40" ' in rank_4
    assert command(height=180) is None
    assert command(height=180, width=320, soc_version='') is None
    assert command(height=180, width=320, precision_mode='force_fp16').endswith('--precision_mode=force_fp16')


@pytest.fixture(scope='module')
def npu_export(checkpoint, shared_reference, shared_freeze, tmp_path_factory):
    """(path, description, lines of the log) of an export for Ascend."""
    path, lines = tmp_path_factory.mktemp('npu') / 'EDVR.pb', []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(freezing, 'reference', shared_reference)
        patch.setattr(freezing, 'freeze', shared_freeze)
        content = export(ExportConfig(checkpoint=checkpoint, output=str(path), kernels='npu', height=16, width=24,
                                      output_dtype='uint8', soc_version='Ascend910B1'), log=lines.append)
    return path, content, lines


def read_graph(path):
    graph_def = tf.GraphDef()
    graph_def.ParseFromString(path.read_bytes())
    return graph_def


def test_the_ascend_graph_has_its_operator_with_every_attribute(npu_export):
    nodes = placeholders(npu_export[0])
    assert not read_graph(npu_export[0]).library.function
    operators = [node for node in nodes.values() if node.op == 'DeformableOffsets']
    assert len(operators) == 4   # three levels and the cascade
    for node in operators:
        attr = node.attr
        assert set(attr) == {'T', 'strides', 'pads', 'ksize', 'dilations', 'data_format', 'deformable_groups',
                             'modulated'}
        assert attr['data_format'].s == b'NHWC' and attr['modulated'].b and attr['deformable_groups'].i == 2
        assert list(attr['dilations'].list.i) == list(attr['strides'].list.i) == list(attr['pads'].list.i) == [1] * 4
        assert list(attr['ksize'].list.i) == [3, 3] and attr['T'].type == tf.float32.as_datatype_enum
        offsets = nodes[node.input[1]]
        assert offsets.op == 'ConcatV2' and nodes[offsets.input[1]].op == 'Sigmoid'   # masks last


def test_an_export_with_a_call_for_each_group(checkpoint, shared, expected, tmp_path):
    content = run(checkpoint, tmp_path / 'EDVR.pb', kernels='npu', height=16, width=24, npu_dcn='split',
                  soc_version='Ascend310P3')
    graph_def = read_graph(tmp_path / 'EDVR.pb')
    operators = [node for node in graph_def.node if node.op == 'DeformableOffsets']
    assert [node.attr['deformable_groups'].i for node in operators] == [1] * 8   # 4 layers of 2 groups
    got, = ascend.run_on_host(graph_def, [{'L_input': expected[0]}])
    assert np.abs(got - expected[1][True]).max() < 1e-5
    facts = content['npu_dcn']
    assert (facts['way'], facts['calls']) == ('split', 2) and 'Ascend 310P' in facts['text']
    assert {row['chip']: row['runs_on'] for row in facts['chips']}['Ascend 950'] == 'AI Core'
    kept = next(node for node in graph_def.node if node.op == 'StridedSlice' and 'cas_dcnpack/' in node.name)
    kept.input[0] = next(node.name for node in operators if node.name != kept.input[0] and 'cas_dcnpack' in node.name)
    with pytest.raises(UserError, match='not followed by one convolution'):
        ascend.run_on_host(graph_def, [{'L_input': expected[0]}])


def test_the_ascend_export_says_what_was_checked_and_what_was_not(npu_export):
    path, content, lines = npu_export
    facts = content['verification']
    assert json.loads(path.with_suffix('.json').read_text()) == content
    assert facts['max_abs_diff'] <= 1.001 / 255 and facts['max_abs_diff_to_stock_graph'] <= 1e-5
    assert any('every DeformableOffsets node' in text for text in facts['checked'])
    assert any('atc' in text for text in facts['only_on_the_device'])
    assert content['dcn_impl'] == 'npu' and '--input_shape="L_input:-1,3,16,24,3"' in content['atc']
    assert any(line.startswith('not run     on a device: whether atc') for line in lines)
    with pytest.raises(UserError, match='runs only there, converted by atc'):
        FrozenGraph(str(path))


def operator_known_to_tensorflow():
    importlib.import_module(adapter.prefix() + '.tbe.npu_cube_ops')


@needs_adapter
def test_the_written_ascend_graph_is_one_that_the_operator_takes(npu, monkeypatch, npu_export, expected):  # noqa: F811
    """TensorFlow compares each node with the operator's own attributes; computed, it gives the checkpoint's values."""
    operator_known_to_tensorflow()
    with tf.Graph().as_default(), tf.Session() as session:
        tf.import_graph_def(read_graph(npu_export[0]), name='')
        got = session.run('SR_output:0', {'L_input:0': expected[0]})
        monkeypatch.setenv('NPU_DOUBLE_EMPTY_KERNELS', '1')   # as on a host
        with pytest.raises(tf.errors.InternalError, match='Missing 0-th output'):
            session.run('SR_output:0', {'L_input:0': expected[0]})
    assert np.abs(got / 255. - np.clip(expected[1][True], 0, 1)).max() <= 0.5 / 255 + 1e-5
    with pytest.raises(UserError, match='runs only there, converted by atc'):
        FrozenGraph(str(npu_export[0]))


@needs_adapter
def test_a_host_with_the_adapter_exports_the_same(npu, monkeypatch, checkpoint, npu_export, tmp_path):  # noqa: F811
    monkeypatch.setenv('NPU_DOUBLE_EMPTY_KERNELS', '1')
    operator_known_to_tensorflow()
    content = run(checkpoint, tmp_path / 'EDVR.pb', kernels='npu', height=16, width=24, output_dtype='uint8')
    ours, without = (read_graph(path) for path in (tmp_path / 'EDVR.pb', npu_export[0]))
    assert list(ours.node) == list(without.node)
    assert content['verification'] == npu_export[1]['verification']


def test_a_graph_for_ascend_is_refused_for_nodes_and_attributes(npu_export):
    graph_def = read_graph(npu_export[0])
    ascend.check_nodes(graph_def)
    node = next(node for node in graph_def.node if node.op == 'DeformableOffsets')
    kept = node.attr['modulated'].b
    del node.attr['modulated']
    with pytest.raises(UserError, match=r'l3/.*: attributes missing or of another value: modulated'):
        ascend.check_nodes(graph_def)
    node.attr['modulated'].b = kept
    node.attr['data_format'].s = b'NCHW'
    with pytest.raises(UserError, match='of another value: data_format'):
        ascend.check_nodes(graph_def)
    node.attr['data_format'].s = b'NHWC'
    graph_def.node.add(name='string', op='AsString')
    with pytest.raises(UserError, match='does not support: AsString'):
        ascend.check_nodes(graph_def)
    with pytest.raises(UserError, match='no DeformableOffsets node'):
        ascend.check_nodes(tf.GraphDef())


def test_the_ascend_graph_is_checked_as_it_is_in_the_file(checkpoint, shared, tmp_path, monkeypatch):
    """What writing takes away, as TensorFlow takes away attributes that are its defaults, is seen."""
    write = Frozen.write

    def stripped(self, path, graph, graph_def):
        for node in graph_def.node:
            if node.op == 'DeformableOffsets':
                del node.attr['data_format']
        write(self, path, graph, graph_def)

    monkeypatch.setattr(Frozen, 'write', stripped)
    with raises_facts(UserError, 'attributes', 'data_format'):
        run(checkpoint, tmp_path / 'EDVR.pb', kernels='npu', batch_size=1, height=16, width=16)
    assert os.listdir(str(tmp_path)) == []


@pytest.mark.parametrize('change', ['weight', 'wiring', 'missing'])
def test_an_ascend_graph_that_differs_is_not_written(checkpoint, shared, tmp_path, monkeypatch, change):
    complete = ascend_nodes.complete

    def changed(graph_def):
        result = complete(graph_def)
        nodes = {node.name: node for node in result.node}
        if change == 'weight':
            node = nodes['edvr/pcd_align/dcn_pack/l2/weight']
            value = tf.make_ndarray(node.attr['value'].tensor).copy()
            value[0, 0, 0, 0] += 1
            node.attr['value'].tensor.CopyFrom(tf.make_tensor_proto(value))
        elif change == 'wiring':
            add = next(node for node in result.node if node.op == 'BiasAdd' and '/conv_last' in node.name)
            add.input[0] = next(node.name for node in result.node if node.op == 'Relu')
        else:
            del result.node[len(result.node) - 1:]
        return result

    monkeypatch.setattr(ascend_nodes, 'complete', changed)
    with pytest.raises(UserError, match='differ at node'):
        run(checkpoint, tmp_path / 'EDVR.pb', kernels='npu', height=16, width=24, output_dtype='uint8')
    assert os.listdir(str(tmp_path)) == []


def test_an_ascend_operator_wired_wrongly_gives_other_values(npu_export, expected):
    """Inside the deformable convolutions, where nodes differ from those of stock operations, values are compared."""
    graph_def = read_graph(npu_export[0])
    want, = ascend.run_on_host(graph_def, [{'L_input': expected[0]}])
    assert np.abs(want - expected[1][True]).max() < 1e-5
    node = next(node for node in graph_def.node if node.op == 'ConcatV2' and 'cas_dcnpack/' in node.name)
    split = next(node for node in graph_def.node if node.op == 'SplitV' and 'dcn_pack/l1' in node.name)
    node.input[0] = split.name   # offsets of another layer
    got, = ascend.run_on_host(graph_def, [{'L_input': expected[0]}])
    assert np.abs(got - want).max() > ascend.LIMIT
    with pytest.raises(UserError, match=r'cas_dcnpack/.*: its offsets or masks come from another layer, .*dcn_pack/l1'):
        ascend.check_nodes(graph_def)


@pytest.mark.parametrize('fields, width, facts', [
    ({}, 1368, ('--width=1368', 'documented', 'DeformableConv2D', '4096', 1365, '--width=640', '--tile=640')),
    (dict(hr_in=True), 5472, ('--width=5472', 5460))])
def test_a_width_above_the_operators_limit_is_refused(fields, width, facts):
    model = ModelConfig(**fields)
    with raises_facts(UserError, *facts):
        ascend.check_width(model, width)
    ascend.check_width(model, 1364)


@pytest.mark.parametrize('chip', ['Ascend310', 'Ascend310B', 'Ascend310B4'])
def test_a_chip_without_the_operator_is_refused(checkpoint, tmp_path, chip):
    with raises_facts(UserError, '--soc_version=%s' % chip, 'DeformableOffsets', 'Ascend910B*', 'Ascend310P*'):
        run(checkpoint, tmp_path / 'EDVR.pb', kernels='npu', height=16, width=24, soc_version=chip)


@pytest.mark.parametrize('network, chip', [
    ('edvr', ''), ('edvr', 'Ascend310P3'), ('edvr', 'Ascend910A'), ('edvr', 'Ascend910B1'),
    ('edvr', 'Ascend910_9391'), ('plain', 'Ascend310')])
def test_a_chip_with_the_operators_of_the_network(network, chip):
    ascend.check_chip(ModelConfig(network=network), chip)


def test_a_damaged_checkpoint_is_not_exported(tmp_path):
    prefix = tiny_checkpoint(tmp_path)
    with open(prefix + '.data-00000-of-00001', 'r+b') as file:
        file.write(b'\0\0\0\0')
    with raises_facts(UserError, 'model.ckpt-7.data-00000-of-00001', 'damaged'):
        run(prefix, tmp_path / 'EDVR.pb', height=16, width=24)


def test_program(checkpoint, tmp_path, run_program):
    done = run_program('edvr.export', '--checkpoint=' + os.path.dirname(checkpoint),
                       '--output=%s' % (tmp_path / 'E.pb'), '--height=16', '--width=16', '--batch_size=1')
    assert done.returncode == 0, done.stderr
    assert 'L_input uint8 [1, 3, 16, 16, 3]' in done.stdout and 'SR_output float32 [1, 64, 64, 3]' in done.stdout
    assert 'moving averages' in done.stdout and 'verified' in done.stdout
    assert sorted(os.listdir(str(tmp_path))) == ['E.json', 'E.pb']


def test_program_fails_on_an_empty_folder(tmp_path, run_program):
    done = run_program('edvr.export', '--checkpoint=%s' % tmp_path, '--output=%s' % (tmp_path / 'E.pb'))
    check_error(done, 'no checkpoint', tmp_path)
    assert os.listdir(str(tmp_path)) == []
