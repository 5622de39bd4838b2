"""Every flagfile is one that `python -m edvr.train` takes, and describes the run that its name promises."""
import glob
import json
import os
import subprocess
import sys

import pytest
from conftest import ROOT

NAMES = sorted(os.path.basename(path)[:-len('.cfg')] for path in glob.glob(os.path.join(ROOT, 'flags', '*.cfg')))

# what edvr.train does with its command line, for each file in turn
PARSE = """
import json, sys
from absl import flags as absl_flags
from edvr import flags
from edvr.config import DataConfig, ModelConfig, RuntimeConfig, TrainingConfig
from edvr.runtime import startup_checks
flags.define(ModelConfig, DataConfig, *TrainingConfig.TOPICS, *RuntimeConfig.TOPICS)
found = {}
for name in sys.argv[1:]:
    absl_flags.FLAGS.unparse_flags()
    for flag in absl_flags.FLAGS:
        absl_flags.FLAGS[flag].unparse()
        absl_flags.FLAGS[flag].present = 0
    assert absl_flags.FLAGS(['train', '--flagfile=flags/%s.cfg' % name])[1:] == []
    merged = {}
    for config in [flags.build(cls) for cls in (ModelConfig, DataConfig, TrainingConfig, RuntimeConfig)]:
        merged.update(config.to_dict())
    counts = {key: merged[key] for key in ('steps', 'save_every', 'log_every', 'summary_every')}
    merged['loop problems'] = startup_checks._loop_problems(RuntimeConfig(device='npu').replace(
        iterations_per_loop=merged['iterations_per_loop']), counts)
    found[name] = merged
print(json.dumps(found))
"""


@pytest.fixture(scope='module')
def runs():
    done = subprocess.run([sys.executable, '-c', PARSE] + NAMES, cwd=ROOT, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, universal_newlines=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_runs_that_are_documented_are_there():
    assert set(NAMES) >= {'1p', '8p', '1p_precision', '8p_precision', 'gpu', 'cpu'} | {
        '%dp_precision_stage%d' % (devices, stage) for devices in (1, 8) for stage in (1, 2)}


@pytest.mark.parametrize('name', NAMES)
def test_each_is_taken(runs, name):
    assert runs[name]['loop problems'] == []


@pytest.mark.parametrize('name', [name for name in NAMES if name[:2] in ('1p', '8p')])
def test_ascend_runs_have_the_whole_batch_of_the_paper(runs, name):
    run = runs[name]
    assert run['device'] == 'npu' and run['batch_size'] * int(name[0]) == 32
    assert (run['channels'], run['num_reconstruct_block'], run['patch_size']) == (64, 10, 64)


@pytest.mark.parametrize('name', [name for name in NAMES if 'precision' in name or name == 'gpu'])
def test_full_recipes(runs, name):
    run = runs[name]
    assert (run['steps'], sum(run['cosine_periods']), run['learning_rate'], run['learning_rate_min']) == (
        600000, 600000, 4e-4, 1e-7)
    assert (run['beta1'], run['beta2'], run['loss'], run['loss_reduction']) == (.9, .99, 'charbonnier', 'sum')
    assert run['with_tsa'] is ('stage1' not in name)
    assert run['tsa_only_steps'] == (50000 if 'stage2' in name else 0)


def test_short_ones_are_short(runs):
    assert all(runs[name]['steps'] <= 5000 for name in ('1p', '8p', 'cpu'))
