"""Paths of other file systems: s3:// from a server on loopback, and one line for what nothing reads."""
import json
import os
import subprocess

import boto3
import pytest
import tensorflow.compat.v1 as tf
import tiny_training
import training_runs
from facts import check_error
from moto.server import ThreadedMotoServer

reads_s3 = tf.__version__.startswith('1.15')


@pytest.fixture
def s3(tmp_path):
    """An S3 server on loopback whose bucket `data` has a set of TFRecords in `set`; the environment to reach it."""
    server = ThreadedMotoServer('127.0.0.1', port=0, verbose=False)
    server.start()
    try:
        address = '127.0.0.1:%d' % server._server.server_port
        keys = dict(AWS_ACCESS_KEY_ID='key', AWS_SECRET_ACCESS_KEY='secret')
        client = boto3.client('s3', endpoint_url='http://' + address, region_name='us-east-1', aws_access_key_id='key',
                              aws_secret_access_key='secret')
        client.create_bucket(Bucket='data')
        folder = tiny_training.make_set(tmp_path / 'set')
        for name in os.listdir(folder):
            client.upload_file(os.path.join(folder, name), 'data', 'set/' + name)
        yield dict(keys, S3_ENDPOINT=address, S3_USE_HTTPS='0', S3_VERIFY_SSL='0', AWS_REGION='us-east-1',
                   TF_CPP_MIN_LOG_LEVEL='3')
    finally:
        server.stop()


@pytest.mark.skipif(not reads_s3, reason='only the wheel of TensorFlow 1.15 reads s3://')
def test_training_from_s3(s3, tmp_path):
    arguments = tiny_training.arguments('s3://data/set', tmp_path / 'run', steps=2)
    done = subprocess.run(training_runs.program() + arguments, env=training_runs.environment(**s3), timeout=120,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
    assert done.returncode == 0, done.stderr
    assert len(training_runs.steps(done.stdout)) == 2
    with open(str(tmp_path / 'run' / 'scalars.jsonl')) as file:
        # all of so small a set may be read before the second point
        assert any(json.loads(line)['watch_input/read_mb_per_second'] > 0 for line in file)


@pytest.mark.skipif(not reads_s3, reason='only the wheel of TensorFlow 1.15 reads s3://')
def test_a_set_in_s3_is_checked_as_one_on_disk(s3, run_program, tmp_path):
    local, remote = (run_program('data_tools.check_tfrecords', '--data_dir=%s' % path, env=s3)
                     for path in (tmp_path / 'set', 's3://data/set'))
    assert local.stdout and remote.stdout == local.stdout.replace(str(tmp_path / 'set'), 's3://data/set')
    check_error(run_program('data_tools.check_tfrecords', '--data_dir=s3://data/nothing', env=s3), 's3://data/nothing')


@pytest.mark.skipif(reads_s3, reason='the wheel of TensorFlow 1.15 reads s3://')
@pytest.mark.parametrize('program, option', [('edvr.train', '--data_dir'), ('data_tools.check_tfrecords', '--data_dir'),
                                             ('data_tools.make_tfrecords', '--output_dir')])
def test_s3_without_its_file_system(run_program, program, option):
    done = run_program(program, option + '=s3://bucket/set')
    check_error(done, option + '=s3://bucket/set', 'does not read s3://', 'gs://', 'S3_ENDPOINT', 'moxing')


@pytest.mark.parametrize('program, option, path', [
    ('edvr.train', '--data_dir', 'other://bucket/set'), ('edvr.inspect_data', '--data_dir', 'OBS://bucket/set'),
    ('data_tools.make_tfrecords', '--output_dir', 'oss://bucket/set')])
def test_a_scheme_that_no_tensorflow_reads(run_program, program, option, path):
    check_error(run_program(program, '%s=%s' % (option, path)), '%s=%s' % (option, path), 'does not read', 'gs://')


@pytest.mark.parametrize('program, option', [
    ('edvr.train', '--model_dir'), ('edvr.train', '--init_from'), ('edvr.infer', '--input'), ('edvr.infer', '--output'),
    ('edvr.evaluate', '--checkpoint'), ('edvr.evaluate', '--json'), ('edvr.export', '--output'),
    ('edvr.export_weights', '--checkpoint'), ('edvr.import_weights', '--output_dir'), ('edvr.demo', '--output_dir'),
    ('data_tools.make_lq', '--output_dir'), ('data_tools.make_sample_clips', '--output_dir'),
    ('data_tools.download_reds', '--root_dir'), ('edvr.benchmark_page', '--input_dir')])
@pytest.mark.parametrize('scheme', ['s3', 'gs'])
def test_an_option_that_takes_local_paths(run_program, tmp_path, program, option, scheme):
    """Nothing is written into a folder named after the scheme."""
    others = {'edvr.export': ['--height=64', '--width=64'], 'data_tools.make_lq': ['--data_dir=clips'],
              'data_tools.download_reds': ['--all']}.get(program, [])
    suffix = '.pb' if program == 'edvr.export' else ''
    path = '%s://bucket/path%s' % (scheme, suffix)
    done = run_program(program, '%s=%s' % (option, path), *others, cwd=str(tmp_path))
    check_error(done, '%s=%s' % (option, path), 'path of this machine', 'obs://')
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('scheme', ['http', 'obs'])
def test_an_option_that_takes_only_a_folder_of_this_machine(run_program, tmp_path, scheme):
    scratch = '--scratch_dir=%s://bucket/path' % scheme
    done = run_program('data_tools.make_tfrecords', '--data_dir=clips', '--output_dir=set', scratch, cwd=str(tmp_path))
    check_error(done, scratch, 'path of this machine')
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('name', ['other://bucket/x.safetensors', 'http://host/x.pth'])
def test_weights_at_an_address(run_program, tmp_path, name):
    check_error(run_program('edvr.import_weights', '--from=' + name, '--output_dir=%s' % (tmp_path / 'model')), name)
    assert not list(tmp_path.iterdir())
