"""The check of a job for Ascend: places of operators, memory, ranks and environment, without a card."""
import collections
import functools
import json

import pytest
import tensorflow.compat.v1 as tf
from facts import check_error, check_facts, raises_facts
from npu_fixtures import JOB_VARIABLES, needs_tf1, no_job, npu  # noqa: F401

from edvr.config import ConfigError, DataConfig, ModelConfig, RuntimeConfig, TrainingConfig
from edvr.config.placement import PlacementConfig
from edvr.devices import device_of, npu_chips
from edvr.devices.npu_chips import UNKNOWN, listed
from edvr.placement import graph, job_graphs, memory, operators
from edvr.training.model_fn import make_model_fn

TINY = dict(channels=16, deform_groups=2, num_frames=3, num_extract_block=1, num_reconstruct_block=1)
TINY_FLAGS = ['--%s=%s' % item for item in TINY.items()] + ['--patch_size=16']
DATA, TRAINING = DataConfig(patch_size=16), TrainingConfig(model_dir='run')
RUNTIME = RuntimeConfig(device='npu')


@functools.lru_cache(maxsize=None)
def training(batch=1, size=2, config=TRAINING, runtime=RUNTIME, micro_batches=1, chip=UNKNOWN, **model):
    return job_graphs.training(ModelConfig(**dict(TINY, **model)), DATA, config,
                               job_graphs.PlannedNpu(runtime, size, chip), batch, micro_batches)


def test_the_tables_of_chips_and_of_operators_agree():
    for operator, field in ((graph.OPERATOR, 'forward'), (graph.GRADIENT, 'backward')):
        assert operators.table()[operator] == {chip.family for chip in npu_chips.CHIPS
                                               if chip.family and getattr(chip, field)}


def test_places_follow_the_table_of_the_chip():
    with tf.Graph().as_default():
        x = tf.placeholder(tf.float32, [2, 8, 8, 16])
        folded = tf.reshape(tf.range(3) + 1, [3, 1])
        ends = [tf.nn.relu(x), tf.reduce_mean(x), tf.is_finite(x), tf.numpy_function(abs, [x], tf.float32), folded,
                tf.shape(x) * 2, graph.stand_in('HcomAllReduce', [x], [x.shape])[0]]
        nodes = {node.operator: node for node in graph.nodes_of(end.op for end in ends)}
    for operator, chip, place in (('Relu', '910', operators.AI_CORE), ('Mean', '910', operators.OTHER_NAME),
                                  ('IsFinite', '910', operators.AI_CPU), ('IsFinite', '910b', operators.AI_CORE),
                                  ('PyFunc', '910b', operators.HOST), ('Range', '910', operators.CONSTANT),
                                  ('Mul', '910', operators.CONSTANT), ('Placeholder', '910', operators.ENGINE),
                                  ('HcomAllReduce', '910', operators.COLLECTIVE)):
        assert operators.place_of(nodes[operator], listed(chip)).place == place, operator


def test_the_step_has_the_operator_and_its_gradient():
    nodes = training()
    sampled = [node for node in nodes if node.operator == graph.OPERATOR]
    assert {(node.groups, node.channels) for node in sampled} == {(2, 16)}
    count = collections.Counter(node.operator for node in nodes)
    assert count['DeformableOffsets'] == count['DeformableOffsetsGrad'] == 4
    assert count['HcomAllReduce'] == count['ApplyAdam'] + 1   # and one of loss, PSNR and offsets
    chip = listed('910')
    check_facts(operators.place_of(sampled[0], chip).reason, 'deformable_groups is 2')
    for channels, half, place in ((32, False, operators.AI_CORE), (40, False, operators.AI_CORE),
                                  (40, True, operators.AI_CPU)):
        assert operators.place_of(sampled[0]._replace(groups=1, channels=channels), chip, half).place == place
    gradient = next(node for node in nodes if node.operator == graph.GRADIENT)
    assert operators.place_of(gradient, chip).place == operators.AI_CORE
    assert operators.place_of(gradient._replace(groups=4), chip).place == operators.AI_CPU   # 4 channels a group


def test_other_kernels_and_networks_have_no_operator_of_ascend():
    for nodes in (training(runtime=RUNTIME.replace(kernels='tf'), with_tsa=False, size=1),
                  training(network='plain', size=1)):
        assert graph.OPERATOR not in {node.operator for node in nodes}


@needs_tf1
@pytest.mark.parametrize('scale', ['off', 'fixed', 'dynamic'])
def test_the_step_is_that_of_the_adapter(npu, monkeypatch, scale):  # noqa: F811
    """Beside the test double of the adapter, the step has the same operators as with the nodes in their place.

    Loss scaling is that of INF/NaN mode: no test double has the flag of the device.
    """
    monkeypatch.setenv('NPU_DOUBLE_OVERFLOW', 'inf_nan')
    model, runtime = ModelConfig(**TINY), RUNTIME.replace(loss_scale=scale)
    with tf.Graph().as_default():
        tf.train.get_or_create_global_step()
        lq, gt = tf.placeholder(tf.uint8, [1, 3, 16, 16, 3]), tf.placeholder(tf.uint8, [1, 64, 64, 3])
        spec = make_model_fn(model, TRAINING, device_of(runtime))({'lq': lq}, gt, 'train')
        found = collections.Counter(node.operator for node in graph.nodes_of([spec.train_op, spec.loss.op]))
    planned = collections.Counter(node.operator for node in training(size=1, runtime=runtime, chip=listed('910b')))
    assert {name: (found[name], planned[name]) for name in set(found) | set(planned)
            if found[name] != planned[name] and name not in ('Const', 'Identity', 'NoOp')} == {}


def test_the_export_has_its_operators():
    for splits, calls, groups in ((False, 4, 2), (True, 8, 1)):
        nodes = job_graphs.export(ModelConfig(**TINY), 32, 48, splits)
        sampled = [node for node in nodes if node.operator == graph.OPERATOR]
        assert len(sampled) == calls and {(node.groups, node.channels) for node in sampled} == {(groups, 16)}
        assert operators.HOST not in {operators.place_of(node, listed('910b')).place for node in nodes}


@pytest.mark.parametrize('scale, chip, size', [
    ('dynamic', '910', 2), ('dynamic', '910b', 2), ('fixed', '910', 1), ('fixed', '910b', 2)])
def test_the_operators_of_loss_scaling(scale, chip, size):
    """Where values saturate, the flag of the device, added over the ranks; in INF/NaN mode a look at each gradient."""
    runtime, chip = RUNTIME.replace(loss_scale=scale), listed(chip)
    plain, nodes = (collections.Counter(node.operator for node in found) for found in (
        training(size=size), training(size=size, runtime=runtime, chip=chip)))
    flags = [nodes[name] for name in ('NpuAllocFloatStatus', 'NpuGetFloatStatus', 'NpuClearFloatStatus')]
    assert flags == ([1, 1, 1] if chip.saturates else [0, 0, 0])
    assert nodes['HcomAllReduce'] - plain['HcomAllReduce'] == (size > 1 and chip.saturates)
    looks = nodes['IsFinite'] - plain['IsFinite'] - 2 * (scale == 'dynamic')   # that of each new scale
    assert looks == (0 if chip.saturates else plain['ApplyAdam'])
    assert nodes['VariableV2'] - plain['VariableV2'] >= 3 * (scale == 'dynamic')
    found = training(size=size, runtime=runtime, chip=chip)
    assert {node.operator for node in found if operators.place_of(node, chip).place == operators.HOST} == set()


def test_loss_scaling_takes_little_memory():
    """The branches in which updates are skipped do not store the gradients again."""
    plain, scaled = training(), training(runtime=RUNTIME.replace(loss_scale='dynamic'), chip=listed('910'))
    one, other = (memory.BatchMemory(nodes, nodes).of(1).live for nodes in (plain, scaled))
    assert .98 * one < other < 1.02 * one


def test_memory_by_hand():
    """a (400 B) lives until c; b (400 B) is a under another shape; c and d: 3 x 400 B at once with the stored 40 B."""
    with tf.Graph().as_default():
        weight = tf.get_variable('weight', [10])
        a = tf.placeholder(tf.float32, [10, 10])
        b = tf.reshape(a, [100])
        c = tf.nn.relu(b)
        d = tf.reshape(c, [10, 10]) + a * weight
        e = tf.reduce_sum(d)
        nodes = graph.nodes_of([e.op])
    found = memory.BatchMemory(nodes, nodes).of(7)
    constants = sum(size.plain for node in nodes if node.operator == 'Const' for size in node.outputs.values())
    assert (found.stored, found.live, found.padded) == (40 + constants, 1200, 1200)


def test_memory_is_linear_in_the_batch_and_falls_with_slices():
    of, five = memory.BatchMemory(training(), training(2)), training(5)
    assert of.of(5)[1:] == memory.BatchMemory(five, five).of(1)[1:]
    assert of.of(1).live < of.of(2).live < of.of(5).live and of.of(5).padded > of.of(5).live
    less = training(config=TRAINING.replace(recompute_alignment=True))
    assert memory.BatchMemory(less, less).of(1).live < of.of(1).live


def test_a_step_in_slices_has_the_memory_of_a_slice():
    """To a tenth: its sums of gradients are counted apart, and a slice needs a little less than a batch of its size."""
    of, sliced = memory.BatchMemory(training(), training(2)), training(2, micro_batches=2)
    assert .9 < memory.BatchMemory(sliced, sliced).of(1).live / of.of(1).live < 1.1


def test_graphs_of_another_network_are_not_mixed():
    with pytest.raises(ValueError, match='other nodes'):
        memory.BatchMemory(training(), training(2)[:-1])


@pytest.mark.parametrize('values, facts', [
    (dict(chips=('910b', 'h100')), ["'h100'", '910_93', '310p', 'Ascend910B3']), (dict(chips=('',)), ["''", '910b']),
    (dict(frame_size=(180,)), ['frame_size', '180', 'height and width'])])
def test_wrong_options_of_the_check(values, facts):
    with raises_facts(ConfigError, *facts):
        PlacementConfig(**values)


@pytest.fixture
def check(run_program, tmp_path, monkeypatch):
    """Runs the program for a small job, in an environment without one."""
    for name in JOB_VARIABLES:
        monkeypatch.delenv(name, raising=False)

    def run(*arguments, env=None, cwd=str(tmp_path)):
        return run_program('edvr.check_npu', *TINY_FLAGS, *arguments, env=env, cwd=cwd)
    return run


def write_table(path, cards, status='completed'):
    devices = [dict(device_id=str(card), device_ip='10.0.0.%d' % (card + 1), rank_id=str(card))
               for card in range(cards)]
    path.write_text(json.dumps(dict(version='1.0', server_count='1', status=status,
                                    server_list=[dict(server_id='10.1.1.1', device=devices)])))
    return path


def test_the_page_and_its_json(check, tmp_path):
    table = tmp_path / 'cluster'   # the folder in which a platform writes it
    table.mkdir()
    write_table(table / 'hccl.json', 4)
    done = check('--flagfile=8p', '--num_devices=4', '--rank_table=%s' % table, '--chips=910b3,310p', '--batch_size=4',
                 '--micro_batches=2', '--frame_size=32,48', '--json=report.json', '--npu_deterministic',
                 '--data_dir=absent', '--channels=64')
    assert done.returncode == 0, done.stderr
    check_facts(done.stdout, '4 ranks on 1 server', table, 'batch 4 x 4 = 16', '--micro_batches=2',
                '--npu_deterministic', 'r1.12.0', 'not on this host: absent', 'never seen',
                'memory of a step in GB, estimated', '20 AI cores (read)', '64 GB a card (general knowledge)',
                # --npu_dcn=auto is decided for each chip
                'Atlas A2, 910B3: 2 calls of one group', 'on AI Core', 'Ascend 310P: one call of 2 groups',
                '4 DeformableOffsets on AI CPU', '8 cores x 64 channels = 512')
    assert len(done.stdout.splitlines()) < 60
    report = json.loads((tmp_path / 'report.json').read_text())
    step = report['graphs']['training step']['chips']
    assert step['310p']['places'][operators.AI_CPU] >= step['910b3']['places'].get(operators.AI_CPU, 0) + 8
    for found in step.values():
        assert sum(found['places'].values()) == found['nodes']
    assert step['310p']['nodes'] < step['910b3']['nodes'] and report['chips']['910b3']['memory_gb'] == 64
    assert report['chips']['910b3']['cores_known'] == 'read'
    assert [(row['chips'], row['slices']) for row in report['memory']] == [
        ([chip], slices) for chip in ('910b3', '310p') for slices in (1, 2, 4)]
    assert report['memory'][0]['fits'] == {'910b3': True} and report['job']['size'] == 4


def test_cards_that_hccl_refuses_on_one_of_the_chips(check):
    """Which of them the job gets is not known."""
    done = check('--num_devices=4', '--device_ids=0,1,2,4', '--data_dir=absent')
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('cards 0, 1, 2, 4 of a host') == 1   # 910, not A2 and A3
    done = check('--num_devices=3', '--chips=910', '--data_dir=absent')
    assert done.returncode == 0, done.stderr
    check_facts(done.stdout, '3 cards', 'HCCS', '1, 2, 4 or 8')


def test_data_and_directory_elsewhere_are_neither_reached_nor_copied(check, tmp_path):
    """Without moxing and without a server. A chip of --soc_version is the one that is checked, with its modes."""
    done = check('--data_dir=s3://bucket/x', '--model_dir=obs://bucket/x', '--init_from=obs://bucket/x',
                 '--val_dir=s3://bucket/x', '--eval_every=5000', '--cache_dir=%s' % tmp_path,
                 '--soc_version=Ascend910B1', '--precision_mode=force_fp16', '--loss_reduction=mean', '--channels=72',
                 '--json=report.json')
    assert done.returncode == 0, done.stderr
    check_facts(done.stdout, 'not on this host: s3://bucket/x', 'multiple of 16', 'float16')
    assert list(json.loads((tmp_path / 'report.json').read_text())['chips']) == ['Ascend910B1']
    assert sorted(path.name for path in tmp_path.iterdir()) == ['report.json']


@pytest.mark.parametrize('arguments, env, facts', [
    (['--chips=h100'], {}, ['h100', '910_93']),
    (['--json=absent/report.json'], {}, ['--json', 'absent']),
    (['--device=cpu'], {}, ['--device=cpu', 'npu']),
    (['--flagfile=9p'], {}, ['9p']),
    (['--steps=many'], {}, ['--steps=many']),
    (['--patch_size=18'], {}, ['patch_size is 18', 'multiple of 4']),
    (['--steps=10', '--iterations_per_loop=4'], {}, ['--steps=10', '--iterations_per_loop=4', 12]),
    (['--rank_table=absent.json', '--num_devices=2'], {}, ['absent.json', 'cannot be read']),
    (['--num_devices=2'], dict(RANK_TABLE_FILE='cut.json'), ['cut.json', 'cannot be read']),
    (['--num_devices=2', '--batch_size=6', '--rank_table=3.json'], {}, [
        '--num_devices=2', '3.json', '3 cards', 'the same whole batch is --num_devices=3 --batch_size=4']),
    (['--num_devices=3', '--rank_table=3.json'], dict(RANK_SIZE='4'), ['RANK_SIZE is 4', '3.json', '3 cards']),
    (['--num_devices=4', '--device_ids=0,1,2,4', '--chips=910'], {}, ['0, 1, 2, 4', 'Ascend 910', '0123']),
    (['--num_devices=4', '--rank_table=odd.json', '--soc_version=Ascend910A'], {}, ['0, 1, 2, 7', '10.1.1.1', '0123']),
    (['--num_devices=3', '--rank_table=writing.json'], {}, ['writing.json', 'initializing', 'completed']),
    (['--num_devices=3', '--rank_table=3.json'], dict(LOCAL_CHECKPOINT_DIR='/x'), ['LOCAL_CHECKPOINT_DIR', '/x']),
    ([], dict(RANK_ID='2', RANK_SIZE='2'), ['RANK_ID', 2]),
    (['--num_devices=2', '--with_tsa=false', '--tsa_only_steps=5', '--precision_mode=force_fp16',
      '--loss_reduction=sum'], dict(RESTORE_FROM='/y'),
     ['3 problems', '65504', 'RESTORE_FROM', '--tsa_only_steps is 5'])],
    ids=str)
def test_a_job_that_would_not_start_is_one_line(check, tmp_path, arguments, env, facts):
    write_table(tmp_path / '3.json', 3)
    write_table(tmp_path / 'writing.json', 3, status='initializing')
    odd = write_table(tmp_path / 'odd.json', 4)
    odd.write_text(odd.read_text().replace('"device_id": "3"', '"device_id": "7"'))
    (tmp_path / 'cut.json').write_text('{"version": "1.0", "sta')
    check_error(check(*arguments, env=env), *facts)
