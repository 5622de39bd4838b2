"""The test double for npu_bridge as a fixture, and the environment of an Ascend job."""
import os
import sys

import pytest
import tensorflow.compat.v1 as tf

from edvr.launch import cm_variables

DOUBLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'npu_double')
JOB_VARIABLES = ('JOB_ID', 'RANK_SIZE', 'RANK_ID', 'DEVICE_ID', 'ASCEND_DEVICE_ID', 'RANK_TABLE_FILE', 'POD_NAME',
                 'LOCAL_CHECKPOINT_DIR', 'RESTORE_FROM', 'TF_CONFIG', *cm_variables.ALL,
                 'NPU_DOUBLE_RELEASE', 'NPU_DOUBLE_OVERFLOW', 'NPU_DOUBLE_EMPTY_KERNELS')
needs_tf1 = pytest.mark.skipif(not tf.__version__.startswith('1.15'),
                               reason='npu_bridge, and so its test double, exists for TensorFlow 1.15 only')
needs_adapter = pytest.mark.skipif(not tf.__version__.startswith(('1.15', '2.6', '2.13')),
                                   reason='no adapter, and so no test double, exists for this TensorFlow')


@pytest.fixture
def no_job(monkeypatch):
    """An environment without a job, and no npu_bridge imported."""
    for name in JOB_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    forget_bridge()
    yield
    forget_bridge()


@pytest.fixture
def npu(no_job, monkeypatch):
    """The environment of one device, and the test double importable."""
    monkeypatch.syspath_prepend(DOUBLE)
    monkeypatch.setenv('JOB_ID', 'test')
    monkeypatch.setenv('RANK_SIZE', '1')


@pytest.fixture
def rank_of_a_job(no_job, monkeypatch):
    """Sets the environment of rank 3 of 8, as a cluster does; returns what one process on that card has instead."""
    for name, value in dict(JOB_ID='cluster', RANK_SIZE='8', RANK_ID='3', DEVICE_ID='5', ASCEND_DEVICE_ID='3',
                            RANK_TABLE_FILE='/user/config', POD_NAME='pod-3').items():
        monkeypatch.setenv(name, value)
    return dict(JOB_ID='cluster', RANK_SIZE='1', RANK_ID='0', DEVICE_ID='5', ASCEND_DEVICE_ID='3',
                RANK_TABLE_FILE=None, POD_NAME=None)


def forget_bridge():
    """Unloads npu_bridge, so that the next import reads the environment again."""
    for name in [name for name in sys.modules if name.split('.')[0] in ('npu_bridge', 'npu_device')]:
        del sys.modules[name]
