"""`python -m edvr.train` accepts every flagfile, and each describes the run of its name."""
import glob
import json
import os

import numpy as np
import preloaded
import pytest
from conftest import ROOT
from test_network import PARAMETERS

from edvr.config import ModelConfig

NAMES = sorted(os.path.basename(path)[:-len('.cfg')] for path in glob.glob(os.path.join(ROOT, 'flags', '*.cfg')))

# what edvr.train does with its command line, for each file in turn
PARSE = """
import json, sys
from absl import flags as absl_flags
from data_tools.base import command_line
from edvr import flags
from edvr.config import DataConfig, ModelConfig, RuntimeConfig, TrainingConfig
from edvr.devices import device_of
flags.define(ModelConfig, DataConfig, TrainingConfig, RuntimeConfig)
found = {}
for name in sys.argv[1:]:
    absl_flags.FLAGS.unparse_flags()
    for flag in absl_flags.FLAGS:
        absl_flags.FLAGS[flag].unparse()
        absl_flags.FLAGS[flag].present = 0
    arguments = command_line.read(['--flagfile=' + name], flags.FLAGFILES).arguments
    assert absl_flags.FLAGS(['train', '--device=npu'] + arguments)[1:] == []
    merged = dict(flagfile_sets_device=any('device=' in argument for argument in arguments))
    for config in [flags.build(cls) for cls in (ModelConfig, DataConfig, TrainingConfig, RuntimeConfig)]:
        merged.update(config.to_dict())
    counts = {key: merged[key] for key in ('steps', 'save_every', 'log_every', 'summary_every')}
    runtime = RuntimeConfig(device='npu', iterations_per_loop=merged['iterations_per_loop'])
    merged['loop problems'] = [text for text in device_of(runtime).problems(counts, 'mean') if '_per_loop=' in text]
    found[name] = merged
print(json.dumps(found))
"""

PERIODS = (150000,) * 4
TSA_FIRST = (50000, 100000) + (150000,) * 3
# recipe -> channels, blocks in front and behind, frames, scale of the input, patch, rate, periods, weights, millions of
# parameters
RECIPES = {
    'edvr_m': (64, 5, 10, 5, 4, 64, 4e-4, PERIODS, (1, .5, .5, .5), 3.30),
    'edvr_m_stage1': (64, 5, 10, 5, 4, 64, 4e-4, PERIODS, (1, 1, 1, 1), None),
    'edvr_m_stage2': (64, 5, 10, 5, 4, 64, 4e-4, TSA_FIRST, (1, 1, 1, 1, 1), 3.30),
    'edvr_l_stage1': (128, 5, 40, 5, 4, 64, 4e-4, PERIODS, (1, .5, .5, .5), None),
    'edvr_l_stage2': (128, 5, 40, 5, 4, 64, 4e-4, TSA_FIRST, (1, .5, .5, .5, .5), 20.6),
    'edvr_l_deblur': (128, 5, 40, 5, 1, 256, 2e-4, PERIODS, (1, 1, 1, 1), None),
    'edvr_l_deblur_comp': (128, 5, 40, 5, 1, 256, 2e-4, PERIODS, (1, 1, 1, 1), None),
    'edvr_l_srblur': (128, 5, 40, 5, 4, 64, 2e-4, PERIODS, (1, 1, 1, 1), None),
    'edvr_l_vimeo90k': (128, 5, 40, 7, 4, 64, 4e-4, PERIODS, (1, .5, .5, .5), None),
    'edvr_m_x2': (64, 5, 10, 5, 2, 64, 4e-4, PERIODS, (1, .5, .5, .5), None),
    'edvr_m_x3': (64, 5, 10, 5, 3, 64, 4e-4, PERIODS, (1, .5, .5, .5), None),
}
FRAGMENTS = {'edvr_common', 'short'}   # included by others only


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    path = tmp_path_factory.mktemp('program') / 'parse.py'
    path.write_text(PARSE)
    done = preloaded.run(str(path), NAMES, 120, env=dict(os.environ, PYTHONPATH=ROOT))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_runs_that_are_documented_are_there():
    recipes = {name for name in NAMES if name.startswith('edvr_')} - FRAGMENTS
    assert recipes == set(RECIPES)
    assert set(NAMES) >= {'1p', '1p_batch4', '8p', '1p_precision', '8p_precision', 'gpu', 'cpu', 'demo'} | {
        '%dp_precision_stage%d' % (devices, stage) for devices in (1, 8) for stage in (1, 2)} | {
        name.replace('edvr_', '8p_') for name in RECIPES if name not in ('edvr_m', 'edvr_m_stage1', 'edvr_m_stage2')}


@pytest.mark.parametrize('name', NAMES)
def test_each_is_taken(runs, name):
    assert runs[name]['loop problems'] == [] and not runs[name]['flagfile_sets_device']


@pytest.mark.parametrize('name', [name for name in NAMES if name[:2] in ('1p', '8p') and name != '1p_batch4'])
def test_the_whole_batch_is_that_of_the_paper(runs, name):
    run = runs[name]
    assert run['num_devices'] == int(name[0]) and run['batch_size'] * run['num_devices'] == 32


def test_number_of_devices(runs):
    assert [runs[name]['num_devices'] for name in ('gpu', 'cpu', 'demo', '1p_batch4')] == [0, 1, 1, 1]
    assert runs['1p_batch4']['batch_size'] == 4


@pytest.mark.parametrize('name, included', [
    ('1p', 'short'), ('8p', 'short'), ('1p_precision', 'edvr_m'), ('8p_precision', 'edvr_m'), ('gpu', 'edvr_m'),
    ('1p_precision_stage1', 'edvr_m_stage1'), ('8p_precision_stage2', 'edvr_m_stage2')]
    + [(name, name.replace('8p_', 'edvr_')) for name in NAMES if name.startswith(('8p_m', '8p_l'))])
def test_runs_are_their_recipes(runs, name, included):
    changed = {key for key in runs[name] if runs[name][key] != runs[included][key]}
    assert changed <= {'num_devices', 'batch_size'}


def test_recipes(runs):
    """Prints the table, and compares it with the published one."""
    print('%-20s %8s %6s %6s %5s %5s %7s %-38s %s' % ('recipe', 'channels', 'blocks', 'frames', 'scale', 'patch',
                                                      'steps', 'periods', 'weights'))
    for name, row in sorted(RECIPES.items()):
        run = runs[name]
        scale = 1 if run['hr_in'] else run['scale']
        found = (run['channels'], run['num_extract_block'], run['num_reconstruct_block'], run['num_frames'], scale,
                 run['patch_size'], run['learning_rate'], tuple(run['cosine_periods']), tuple(run['restart_weights']))
        print('%-20s %8d %3d+%2d %6d %5d %5d %7d %-38s %s' % (
            (name,) + found[:6] + (run['steps'], ','.join(map(str, found[7])), ','.join('%g' % w for w in found[8]))))
        assert found == row[:-1], name
        assert (run['steps'], sum(run['cosine_periods']), run['learning_rate_min']) == (600000, 600000, 1e-7)
        assert (run['beta1'], run['beta2'], run['loss'], run['loss_reduction']) == (.9, .99, 'charbonnier', 'sum')
        assert run['with_tsa'] is ('stage1' not in name)
        assert run['with_predeblur'] is ('blur' in name) and run['hr_in'] is ('deblur' in name)
        assert run['tsa_only_steps'] == (50000 if 'stage2' in name else 0)


@pytest.mark.parametrize('name', ['edvr_m', 'edvr_l_stage2'])
def test_networks_have_the_published_number_of_parameters(runs, name):
    """The network is one whose parameters test_network counts."""
    model = ModelConfig(**{field: runs[name][field] for field in ModelConfig.__dataclass_fields__})
    count, = [count for options, count in PARAMETERS if ModelConfig(**options) == model]
    np.testing.assert_allclose(count / 1e6, RECIPES[name][-1], rtol=.003)


def test_short_ones_are_short(runs):
    assert all(runs[name]['steps'] <= 5000 for name in ('1p', '8p', 'cpu', '1p_batch4'))
