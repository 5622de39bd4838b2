"""The benchmark: its counts, its measurements, its program, and its errors."""
import json
import os
import sys

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from facts import raises_facts
from npu_fixtures import no_job, rank_of_a_job  # noqa: F401 fixtures

from data_tools.base.errors import UserError
from data_tools.sample.clips import make_clips
from edvr import benchmark, checkpoints
from edvr.benchmarks import child, dcn, input, measure, packing, page, quality, report, restore, startup, step, tiles
from edvr.config import BenchmarkConfig, ConfigError, DataConfig, ModelConfig, RuntimeConfig
from edvr.config.benchmark import sizes
from edvr.devices import device_of, host_memory
from edvr.devices.gpu import GpuDevice
from edvr.network import networks

TINY = ModelConfig(channels=8, deform_groups=2, num_extract_block=1, num_reconstruct_block=1)
QUICK = BenchmarkConfig(seconds=0., repeats=1, dcn_size='1x8x9')


def test_arithmetic_of_the_default_network():
    config = ModelConfig()
    assert round(networks.macs(config, 64, 64) / 1e9, 1) == 33.2
    assert round(networks.macs(config, 180, 320) / 1e9) == 467


def test_arithmetic_layer_by_layer():
    """C=8, G=2, one block each, no TSA, one frame: every layer written out."""
    config = ModelConfig(num_frames=1, channels=8, deform_groups=2, num_extract_block=1, num_reconstruct_block=1,
                         with_tsa=False)
    conv, pack = 9 * 8 * 8, 9 * 8 * 54 + 9 * 8 * 8
    pyramid = 9 * 3 * 8 + 2 * conv + 2 * conv / 4 + 2 * conv / 16
    align = (3 * conv + pack) / 16 + (2 * conv + 2 * conv + conv + pack + 2 * conv) * (1 / 4 + 1) + 3 * conv + pack
    rebuild = 8 * 8 + 2 * conv + 4 * conv + 4 * 9 * 8 * 256 + 16 * (9 * 64 * 64 + 9 * 64 * 3)
    assert networks.macs(config, 8, 12) == 8 * 12 * (pyramid + align + rebuild)


def test_median_and_calls():
    calls = []
    seconds = measure.median_seconds(lambda: calls.append(1), 0., 3, warm_up=2)
    assert len(calls) == 5 and 0 <= seconds < 1


def _allocate(megabytes):
    before = host_memory.peak_rss_mb()
    return dict(before=before, sum=float(np.ones(megabytes * 10 ** 6, np.uint8)[::4096].sum()))


def _die():
    os._exit(9)


def test_a_child_has_its_own_peak():
    here = np.ones(300 * 10 ** 6, np.uint8)   # the child must not inherit this one's peak
    found = measure.in_child(_allocate, 400)
    assert 380 < found['peak_rss_mb'] - found['before'] < 450, len(here)


def test_a_child_that_ends_by_itself():
    with pytest.raises(UserError, match='out of memory'):
        measure.in_child(_die)


def test_peak_memory_of_this_process():
    before = host_memory.peak_rss_mb()
    block = np.ones(int(before * 1e6) + 10 ** 8, np.uint8)
    assert host_memory.peak_rss_mb() >= before + 90, len(block)


def test_malloc_is_tuned_on_glibc_only(monkeypatch):
    monkeypatch.setattr(host_memory.platform, 'libc_ver', lambda: ('', ''))
    assert not host_memory.tune_malloc()


def test_dcn_and_step_results(monkeypatch):
    monkeypatch.setattr(measure, 'PEAK_SIZE', 64)
    keys = {'what', 'implementation', 'shape', 'ms', 'gflops', 'matmul_peak_gflops', 'matmul_peak_of', 'share_of_peak',
            'bound_ms', 'product_gflops', 'product_of', 'share_of_product'}
    result = dcn._tensorflow(QUICK, TINY, RuntimeConfig(), 'tf', True)
    assert set(result) == keys and result['what'] == 'dcn training' and result['shape'] == 'x [1, 8, 9, 8], G=2'
    assert result['gflops'] * result['ms'] * 1e6 == pytest.approx(3 * 2 * 72 * 9 * 64)
    result = step._measure(QUICK, TINY, DataConfig(batch_size=2, patch_size=8), RuntimeConfig(), 'tf')
    assert set(result) == keys | {'samples_per_s'} and result['implementation'] == 'tf'
    assert result['gflops'] * result['ms'] * 1e6 == pytest.approx(6 * 2 * networks.macs(TINY, 8, 8))


def test_a_step_has_the_precision_of_the_run(monkeypatch):
    monkeypatch.setattr(GpuDevice, 'replica_devices', lambda self: ['/gpu:0'])
    runtime = RuntimeConfig(device='gpu', kernels='tf', mixed_precision=True, loss_scale='dynamic')
    assert measure.training_ways((), runtime) == [('tf mixed precision', runtime)]
    try:
        with tf.Graph().as_default():
            step.train_op(TINY, device_of(runtime), 2, 8)
            assert any('loss_scale' in variable.op.name for variable in tf.global_variables())
    finally:
        tf.train.experimental.disable_mixed_precision_graph_rewrite()


def test_ways_to_restore(monkeypatch):
    monkeypatch.setattr(restore.native_library, 'has_bfloat16', lambda: False)
    assert restore._ways('native') == [{}, dict(exact=True)]
    monkeypatch.setattr(restore.native_library, 'has_bfloat16', lambda: True)
    assert restore._ways('native') == [{}, dict(exact=True), dict(compute='bf16')]
    assert restore._ways('tf') == [{}]


def test_tiles_result():
    result = tiles._measure(TINY.replace(num_frames=3), RuntimeConfig(), 'tf', 64, 96, 64.)
    assert result.pop('ms_per_frame') > 0 and result.pop('cpu_s_per_megapixel') > 0
    assert result == dict(what='tiles', implementation='tf', shape='lq [3, 64, 96, 3], C=8, G=2, memory_gb=64',
                          tiles='the whole frame')


def test_packing_beside_an_lmdb(tmp_path):
    rows = packing.run(BenchmarkConfig(frame_size='16x16', frames=8), TINY, DataConfig(), RuntimeConfig())
    assert [row['implementation'] for row in rows] == ['make_lq', 'make_tfrecords, raw', 'make_tfrecords, tiles',
                                                       'a plain LMDB']
    assert all(row['frames_per_s'] > 0 and row['mb_per_s'] > 0 and row['shape'] == '4 clips of 8 frames, GT 64x64'
               for row in rows)
    made = {row['implementation']: row['mb'] for row in rows}
    assert made['make_tfrecords, raw'] > 32 * (64 * 64 + 5 * 16 * 16) * 3 / 1e6 > made['make_tfrecords, tiles'] > 0


def test_first_frame_and_png_to_png():
    rows = startup.run(BenchmarkConfig(frame_size='16x16', frames=8), TINY, DataConfig(), RuntimeConfig(kernels='tf'))
    assert [row['what'] for row in rows] == ['startup', 'startup', 'png to png']
    assert rows[1]['implementation'] == 'tf' and 0 < rows[0]['ms'] < rows[1]['ms']
    assert rows[2]['ms_per_frame'] > 0 and rows[2]['ms_per_frame_in_memory'] > 0


def test_each_way_of_the_compiled_operators_is_measured():
    ways = measure.training_ways(('native', 'tf'), RuntimeConfig(intra_op_threads=1))
    assert [(name, way.kernels, way.convolutions, way.intra_op_threads) for name, way in ways] == [
        ('native', 'native', 'fast', 1), ('native exact', 'native', 'exact', 1), ('tf', 'tf', 'fast', 1)]
    assert [name for name, _ in measure.training_ways((), RuntimeConfig(kernels='tf'))] == ['tf']


def test_curve_of_quality(tmp_path):
    clips, run_dir = str(tmp_path / 'clips'), str(tmp_path / 'run')
    make_clips(clips, 2, 2, 64, 64, first_clip=10)
    restore.random_checkpoint(run_dir, TINY)
    prefix, = checkpoints.prefixes(run_dir)
    (seconds, number, decibels), = quality._curve({prefix: 4.5}, clips, RuntimeConfig(kernels='tf'))['curve']
    assert (seconds, number) == (4.5, 0) and 5 < decibels < 60
    with raises_facts(UserError, '--demo_dir', str(tmp_path), 'tfrecords', 'edvr.demo'):
        quality.run(BenchmarkConfig(demo_dir=str(tmp_path)), TINY, DataConfig(), RuntimeConfig())


def test_a_program_that_fails_is_reported():
    with raises_facts(UserError, 'data_tools.make_lq', 'exit code', '--no_such_flag'):
        child.run('data_tools.make_lq', '--no_such_flag')


def test_torchvision_row(monkeypatch):
    pytest.importorskip('torchvision')
    monkeypatch.setattr(measure, 'PEAK_SIZE', 64)
    result = dcn._torchvision(QUICK, TINY, RuntimeConfig(), 'torchvision', True)
    assert result['implementation'] == 'torchvision' and result['ms'] > 0


def test_the_peak_is_the_fastest_candidate(monkeypatch):
    """Not TensorFlow's product alone, which another one may beat; on another device than the CPU only that counts."""
    monkeypatch.setattr(measure, 'PEAK_SIZE', 64)
    products = dict(_tensorflow_product='TensorFlow', _numpy_product='NumPy', _native_product='the compiled operators')
    measured = {name: getattr(measure, name)(None) for name in ('_tensorflow_product', '_numpy_product')}
    assert all(gflops > 0 for gflops in measured.values())
    monkeypatch.setattr(measure.native_library, 'available', lambda: True)
    monkeypatch.setattr(measure, '_register_block', lambda config: 2.5)
    for fastest, library in products.items():
        for name in products:
            monkeypatch.setattr(measure, name, lambda config, gflops=2. + (name == fastest): gflops)
        assert measure.matmul_peak(RuntimeConfig()) == (3., library, 3., library)
    monkeypatch.setattr(measure, '_register_block', lambda config: 4.)
    assert measure.matmul_peak(RuntimeConfig()) == (4., 'the register block', 3., 'the compiled operators')
    assert measure.matmul_peak(RuntimeConfig(device='gpu')) == (2., 'TensorFlow', 2., 'TensorFlow')
    monkeypatch.setattr(measure.native_library, 'available', lambda: False)
    assert measure.matmul_peak(RuntimeConfig()) == (2., 'TensorFlow', 2., 'TensorFlow')


def test_rates():
    rates = measure.rates(2., 6e9, measure.Peak(12., 'the register block', 6., 'NumPy'))
    assert rates == dict(ms=2000., gflops=3., matmul_peak_gflops=12., matmul_peak_of='the register block',
                         share_of_peak=.25, bound_ms=500., product_gflops=6., product_of='NumPy', share_of_product=.5)


def _failing_operation():
    with tf.Graph().as_default(), tf.Session() as session:
        session.run(tf.debugging.Assert(tf.constant(False), ['a wrong shape']))


def test_an_operation_that_fails_is_reported():
    with pytest.raises(UserError, match='a wrong shape'):
        measure.in_child(_failing_operation)


def _blas_threads():
    return {name: os.environ.get(name) for name in measure.BLAS_VARIABLES}


def test_numpy_gets_the_threads_of_the_run(monkeypatch):
    monkeypatch.setenv('OMP_NUM_THREADS', '7')
    before = dict(os.environ)
    found = measure.in_child(_blas_threads, threads=3)
    assert {found[name] for name in measure.BLAS_VARIABLES} == {'3'}
    assert dict(os.environ) == before


def test_page(tmp_path, run_program, monkeypatch):
    rows = [dict(what='step', implementation=name, shape='lq [4, 5]', ms=ms, samples_per_s=4e3 / ms, gflops=9.,
                 matmul_peak_gflops=400., matmul_peak_of='the register block', share_of_peak=.4, bound_ms=80.,
                 product_gflops=200., product_of='NumPy', share_of_product=.8, peak_rss_mb=2000.)
            for name, ms in (('native', 100.), ('tf', 250.))]
    rows.append(dict(what='restore', implementation='native', shape='s', ms_per_frame=50., ms_per_frame_cached=40.,
                     matmul_peak_gflops=210., matmul_peak_of='NumPy', share_of_peak=.9, bound_ms=45.))
    rows.append(dict(what='tiles', implementation='native', shape='s', ms_per_frame=90., tiles='4 tiles of 64x64',
                     cpu_s_per_megapixel=77.))
    rows.append(dict(what='dcn forward', implementation='tf', shape='s', ms=1., matmul_peak_gflops=190.,
                     matmul_peak_of='BLIS'))
    rows.append(dict(what='quality', implementation='native exact', shape='s', ms=9e3, psnr=28.5,
                     curve=[[4., 50, 27.5], [9., 100, 28.5]]))
    content = dict(machine=dict(processor='A & B', cores=2), results=rows)
    (tmp_path / 'x.json').write_text(json.dumps(content))
    done = run_program('edvr.benchmark_page', '--input_dir=%s' % tmp_path)
    assert done.returncode == 0 and done.stdout.count('.svg') == 4, done.stderr
    text = (tmp_path / 'README.md').read_text()
    assert '| step | tf | lq [4, 5] | 250.0 | 80.0 | 40 % | 80 % |  |  |  | 16.0 |  | 2000 |' in text
    assert 'Peaks: 190 GFLOP/s by BLIS, 200 to 210 GFLOP/s by NumPy, 400 GFLOP/s by the register block.' in text
    assert '| tiles | native | s | 90.0 |  |  |  |  | 4 tiles of 64x64 | 77.0 |  |  |  |' in text
    of_an_earlier_version = '| restore | native | s | 50.0 | 45.0 |  | 90 % | 40.0 |  |  |  |  |  |'
    assert of_an_earlier_version in text and 'processor: A & B' in text
    plot = (tmp_path / 'step.svg').read_text()
    assert all(text in plot for text in ('Training step, ms', '>x, native</text>', '> 100</text>', '> 250</text>'))
    assert 'native exact</text>' in (tmp_path / 'quality.svg').read_text()
    page.make(str(tmp_path))
    assert (tmp_path / 'step.svg').read_text() == plot
    with monkeypatch.context() as patch, pytest.raises(UserError, match=r"need Matplotlib.*'edvr\[page\]'"):
        patch.setitem(sys.modules, 'matplotlib', None)
        page.make(str(tmp_path))
    (tmp_path / 'y.json').write_text('[1]')
    with raises_facts(UserError, 'y.json', 'edvr.benchmark'):
        page.make(str(tmp_path))
    (tmp_path / 'y.json').rename(tmp_path / 'x\udcff.json')
    with raises_facts(UserError, r"x\udcff.json'", 'UTF-8', 'rename it'):
        page.make(str(tmp_path))
    with raises_facts(UserError, 'no JSON file', 'python -m edvr.benchmark --what=all'):
        page.make(str(tmp_path / 'nowhere'))


def test_program(run_program, tmp_path):
    path = tmp_path / 'result.json'
    done = run_program('edvr.benchmark', '--what=dcn', '--compare=tf', '--seconds=0', '--repeats=1', '--channels=8',
                       '--deform_groups=2', '--dcn_size=1x8x8', '--json=%s' % path)
    assert done.returncode == 0, done.stderr
    assert 'dcn forward tf x [1, 8, 8, 8], G=2: ' in done.stdout and 'peak memory' in done.stdout
    written = json.loads(path.read_text())
    results = written['results']
    assert written['machine']['cores'] >= 1 and written['machine']['device'] == 'cpu'
    assert [result['what'] for result in results] == ['dcn forward', 'dcn training']
    assert all(result['peak_rss_mb'] > 50 and result['ms'] > 0 for result in results)


def test_on_an_npu_it_is_no_rank_of_a_job(rank_of_a_job, monkeypatch, capsys):  # noqa: F811
    """RANK_TABLE_FILE would make the adapter wait for the other ranks."""
    given = BenchmarkConfig(what=('input',)), TINY, DataConfig(), RuntimeConfig(device='npu', num_devices=8)
    monkeypatch.setattr(benchmark.flags, 'build_all', lambda *configs: given)
    seen = {}
    monkeypatch.setattr(input, 'run', lambda benchmark, model, data, runtime: [seen.update(
        measure.in_child(_environment), num_devices=runtime.num_devices)][:0])
    benchmark.main()
    capsys.readouterr()
    assert {name: seen.get(name) for name in rank_of_a_job} == rank_of_a_job and seen['num_devices'] == 1


def _environment():
    return dict(os.environ)


def test_ratios_and_text():
    rows = [dict(what='step', implementation=name, shape='s', ms=ms, share_of_peak=.5) for name, ms in
            (('native', 100.), ('tf', 250.))]
    assert list(report.ratios(rows)) == ['step s: native is 2.50 times as fast as tf (ms)']
    assert report.describe(rows[0]) == 'step native s: 100.0 ms, 50%'


def test_bad_options(tmp_path):
    with raises_facts(ConfigError, 'frame_size', "'180'", 'HxW'):
        BenchmarkConfig(frame_size='180')
    for tiled in ('540x960', '540x960:0', '540x0:2', '540x960x3:2', '540x960:nan', ':2', ''):
        with raises_facts(ConfigError, 'tiled', "'%s'" % tiled, 'HxW:GB'):
            BenchmarkConfig(tiled=(tiled,))
    with pytest.raises(ConfigError, match="tiled is ''"):
        BenchmarkConfig(tiled=())
    assert BenchmarkConfig(tiled=('8x12:1.5', '4x6:2')).tiled_cases() == [(8, 12, 1.5), (4, 6, 2.)]
    with pytest.raises(ConfigError, match='dcn_size'):
        BenchmarkConfig(dcn_size='1x0x4')
    with raises_facts(ConfigError, "'torchvision'", '--what=step', 'native', 'tf', 'npu'):
        BenchmarkConfig(what=('step',), compare=('torchvision',))
    for path in (tmp_path / 'no' / 'such.json', tmp_path):
        with raises_facts(UserError, 'cannot be written', 'a file in a folder'):
            report.check_destination(str(path))
    report.check_destination(str(tmp_path / 'new.json'))
    assert sizes('2x3') == (2, 3)
