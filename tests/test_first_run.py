"""The first run that docs/ascend.md describes, on the test double of the adapter and on the CPU."""
import os
import re
import shlex

import pytest
import tiny_training
from conftest import ROOT
from npu_fixtures import DOUBLE, JOB_VARIABLES, needs_tf1

SMALL = ['--channels=8', '--deform_groups=2', '--num_extract_block=1', '--num_reconstruct_block=1', '--num_frames=3',
         '--patch_size=16', '--kernels=auto', '--steps=3', '--save_every=3', '--batch_size=2', '--micro_batches=1']


def documented():
    """The flags of the command in the section: list of str."""
    with open(os.path.join(ROOT, 'docs', 'ascend.md')) as file:
        section = file.read().partition('## The first run')[2].partition('\n## ')[0]
    command, = re.findall(r'```bash\n(python -m edvr\.train .*?)```', section, re.S)
    return shlex.split(command.replace('\\\n', ' '))[3:]


@needs_tf1
def test_cpu_and_npu_begin_alike_and_every_run_begins_so(run_program, tmp_path, monkeypatch):
    """Its first loss is the same on both devices: same weights, same samples, same operator."""
    for name in JOB_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    data = tiny_training.make_set(tmp_path / 'tfrecords', height=16, width=16)
    flags = documented()
    assert '--deterministic' in flags and '--device=cpu' not in flags
    losses = {}
    for device, env in (('npu', dict(PYTHONPATH=DOUBLE, JOB_ID='1', RANK_ID='0', RANK_SIZE='1')), ('cpu', {})):
        done = run_program('edvr.train', *flags, *SMALL, '--device=' + device, '--data_dir=' + data,
                           '--model_dir=%s' % (tmp_path / device), '--val_clips=', env=env)
        assert done.returncode == 0, done.stderr
        assert 'device: %s' % device in done.stdout and 'GUARD' not in done.stderr
        losses[device] = [float(value) for value in re.findall(r'Step:\d+, .*?loss:(\S+?)[, ]', done.stdout)]
        assert len(losses[device]) == 3 and 'model.ckpt-3' in done.stdout
    assert losses['npu'][0] == pytest.approx(losses['cpu'][0], rel=1e-5)
