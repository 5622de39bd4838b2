"""Apache Spark packs and restores the bytes of the local workers, on two executors, of which one is killed."""
import glob
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT
from facts import check_facts
from helpers import smooth_frames
from packed import write_clips

from data_tools.base import processes
from data_tools.media import images
from data_tools.packing import pack
from data_tools.packing.config import PackConfig

HOW = '(scripts/test.sh --spark)'
pytest.importorskip('apache_beam', reason='Apache Beam is not installed ' + HOW)
pytest.importorskip('pyspark', reason='pyspark is not installed ' + HOW)
pytest.importorskip('beam_pyspark_runner', reason='beam-pyspark-runner is not installed ' + HOW)
if not shutil.which('java'):
    pytest.skip('Spark needs Java, which is not installed', allow_module_level=True)

RUNNER = '--runner=beam_pyspark_runner.pyspark_runner.PySparkRunner'
SUBMIT = '--master local-cluster[2,1,1024] --conf spark.default.parallelism=4 --conf spark.ui.enabled=false'


def start(program, *flags):
    """Starts a program on two executors, which are processes."""
    environment = dict(os.environ, PYSPARK_SUBMIT_ARGS=SUBMIT + ' pyspark-shell', PYSPARK_PYTHON=sys.executable,
                       PYTHONPATH=ROOT, SPARK_LOCAL_IP='127.0.0.1')
    return subprocess.Popen([sys.executable, '-m', program, RUNNER, *flags], cwd=ROOT, env=environment,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)


def end(process):
    """Returns (exit code, stdout, stderr) of a program that `start` started."""
    try:
        out, err = process.communicate(timeout=600)
    finally:
        process.kill()
    return process.returncode, out, err


def contents(folder):
    """{path below a folder: its bytes}, hidden files too."""
    found = {}
    for path, _, names in os.walk(str(folder)):
        for name in names:
            with open(os.path.join(path, name), 'rb') as file:
                found[os.path.relpath(os.path.join(path, name), str(folder))] = file.read()
    return found


def test_packing_with_an_executor_that_is_killed(tmp_path):
    source = write_clips(tmp_path / 'clips', (40, 40))
    options = dict(data_dir=source, num_frames=3, num_shards=40, encoding='tiles')
    pack.pack_set(PackConfig(output_dir=str(tmp_path / 'local'), workers=1, **options))
    process = start('data_tools.make_tfrecords', '--output_dir=%s' % (tmp_path / 'set'),
                    *('--%s=%s' % item for item in options.items()))
    deadline = time.monotonic() + 240
    while (not glob.glob(str(tmp_path / 'set' / 'shard-*.tfrecord')) and process.poll() is None
           and time.monotonic() < deadline):
        time.sleep(0.01)
    executors = processes.descendants('CoarseGrainedExecutorBackend')
    for pid in executors[-1:]:
        os.kill(pid, signal.SIGKILL)
    code, out, err = end(process)
    assert code == 0 and len(executors) >= 2, err
    check_facts(err, 'Lost executor')
    check_facts(out, '80 windows in 40 shards')
    assert contents(tmp_path / 'set') == contents(tmp_path / 'local')


def test_restoring(checkpoint, tmp_path):
    os.makedirs(str(tmp_path / 'in' / '000'))
    for index, frame in enumerate(smooth_frames(5, 14, 18)):
        images.write_png(str(tmp_path / 'in' / '000' / ('%03d.png' % index)), frame)
    flags = ['--checkpoint=' + checkpoint, '--input=%s' % (tmp_path / 'in'), '--device=cpu']
    code, out, err = end(start('edvr.infer', '--output=%s' % (tmp_path / 'spark'), '--stretch=2', *flags))
    assert code == 0, err
    check_facts(out, '3 pieces of 1 clips')
    done = subprocess.run([sys.executable, '-m', 'edvr.infer', '--output=%s' % (tmp_path / 'local'), *flags], cwd=ROOT,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found, wanted = contents(tmp_path / 'spark'), contents(tmp_path / 'local')
    assert found == wanted and any(name.endswith('.png') for name in wanted)


def test_a_frame_that_does_not_decode_is_reported_in_one_line(tmp_path):
    source = write_clips(tmp_path / 'clips', (4,))
    path = os.path.join(source, 'truth', '000', '00000002.png')
    with open(path, 'r+b') as file:
        file.truncate(os.path.getsize(path) // 2)
    code, _, err = end(start('data_tools.make_tfrecords', '--data_dir=' + source, '--num_shards=2', '--num_frames=3',
                             '--output_dir=%s' % (tmp_path / 'set')))
    lines = [line for line in err.splitlines() if line.startswith('error: ')]
    assert code == 1 and len(lines) == 1, err
    check_facts(lines[0], 'frame ' + path)
    assert not (tmp_path / 'set' / 'manifest.json').exists()
