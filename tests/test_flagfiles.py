"""`python -m edvr.train` accepts every flagfile; each describes the run of its name: a recipe, a machine or both."""
import glob
import json
import os

import numpy as np
import preloaded
import pytest
from conftest import ROOT
from test_network import PARAMETERS

from data_tools.base.config import names_with
from edvr.config import DataConfig, ModelConfig, RuntimeConfig, TrainingConfig

NAMES = sorted(os.path.basename(path)[:-len('.cfg')] for path in glob.glob(os.path.join(ROOT, 'flags', '*.cfg')))
MACHINES = {'1p', '1p_batch4', '8p', 'gpu'}
FRAGMENTS = {'edvr_common'}   # included by others only

# The runs that were a flagfile each in version 1.0.0, and the flagfiles and flags of today that give the same run.
RUNS = dict({name: [name] for name in NAMES}, **{
    '1p_precision': ['edvr_m', '1p'],
    '1p_precision_stage1': ['edvr_m_stage1', '1p'],
    '1p_precision_stage2': ['edvr_m_stage2', '1p'],
    '8p_l_deblur': ['edvr_l_deblur', '8p'],
    '8p_l_deblur_comp': ['edvr_l_deblur', '8p'],
    '8p_l_srblur': ['edvr_l_srblur', '8p'],
    '8p_l_stage1': ['edvr_l_stage1', '8p'],
    '8p_l_stage2': ['edvr_l_stage2', '8p'],
    '8p_l_vimeo90k': ['edvr_l_vimeo90k', '8p'],
    '8p_m_x2': ['edvr_m', '8p', '--scale=2'],
    '8p_m_x3': ['edvr_m', '8p', '--scale=3'],
    '8p_precision': ['edvr_m', '8p'],
    '8p_precision_stage1': ['edvr_m_stage1', '8p'],
    '8p_precision_stage2': ['edvr_m_stage2', '8p'],
    'edvr_l_deblur_comp': ['edvr_l_deblur'],
    'edvr_m_x2': ['edvr_m', '--scale=2'],
    'edvr_m_x3': ['edvr_m', '--scale=3'],
})

# what edvr.train does with its command line, for each in turn: the options that differ from their defaults
PARSE = """
import json, sys
from absl import flags as absl_flags
from data_tools.base import command_line
from edvr import flags
from edvr.config import DataConfig, ModelConfig, RuntimeConfig, TrainingConfig
CLASSES = ModelConfig, DataConfig, TrainingConfig, RuntimeConfig
flags.define(*CLASSES)
found = []
for typed in json.loads(sys.argv[1]):
    absl_flags.FLAGS.unparse_flags()
    for flag in absl_flags.FLAGS:
        absl_flags.FLAGS[flag].unparse()
        absl_flags.FLAGS[flag].present = 0
    arguments = command_line.read(typed, flags.FLAGFILES).arguments
    assert not any('device=' in argument for argument in arguments)
    assert absl_flags.FLAGS(['train', '--device=npu'] + arguments)[1:] == []
    values = {name: (value, cls.__dataclass_fields__[name].default) for cls in CLASSES
              for name, value in flags.build(cls).to_dict().items() if name != 'device'}
    found.append({name: value for name, (value, default) in values.items() if value != default})
print(json.dumps(found))
"""
DEFAULTS = {name: field.default for cls in (ModelConfig, DataConfig, TrainingConfig, RuntimeConfig)
            for name, field in cls.__dataclass_fields__.items()}

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
    'edvr_l_srblur': (128, 5, 40, 5, 4, 64, 2e-4, PERIODS, (1, 1, 1, 1), None),
    'edvr_l_vimeo90k': (128, 5, 40, 7, 4, 64, 4e-4, PERIODS, (1, .5, .5, .5), None),
    'edvr_m_g1': (64, 5, 10, 5, 4, 64, 4e-4, PERIODS, (1, .5, .5, .5), None),
    'plain_m': (64, 5, 10, 5, 4, 64, 4e-4, PERIODS, (1, .5, .5, .5), None),
}


@pytest.fixture(scope='module')
def parsed(tmp_path_factory):
    """Returns a function from a list of lists of flagfiles and flags to the options of each that are not defaults."""
    path = tmp_path_factory.mktemp('program') / 'parse.py'
    path.write_text(PARSE)

    def parsed(lines):
        typed = [[word if word.startswith('--') else '--flagfile=' + word for word in words] for words in lines]
        done = preloaded.run(str(path), [json.dumps(typed)], 120, env=dict(os.environ, PYTHONPATH=ROOT))
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)
    return parsed


@pytest.fixture(scope='module')
def runs(parsed):
    """{name of a run: {option: value}}, without defaults."""
    return dict(zip(RUNS, parsed(list(RUNS.values()))))


def test_the_runs_of_version_1(runs, parsed):
    """Their options, as far as they differ from the defaults, are those of golden/flagfiles.json.

    Averages of the weights, as in the public options since 2021, were added later, and the slices of one card, which
    give the same updates. The demonstration makes more updates.
    """
    with open(os.path.join(ROOT, 'tests', 'golden', 'flagfiles.json')) as file:
        golden = json.load(file)
    for name, run in golden.items():
        run.update(dict(ema_decay=.999) if 'stage' in name else {})
        run.update(dict(init_from_ema=False) if 'stage2' in name else {})
        run.update(dict(micro_batches=8) if '1p' in RUNS[name] else {})
        run.update(dict(steps=750, cosine_periods=[750]) if name == 'demo' else {})
    assert {name: runs[name] for name in golden} == golden
    both = {name: words for name, words in RUNS.items() if len(words) > 1 and words[1] in MACHINES}
    assert dict(zip(both, parsed([[words[1], words[0]] + words[2:] for words in both.values()]))) == {
        name: runs[name] for name in both}
    for spelling in ('8p', 'flags/8p.cfg', os.path.join(ROOT, 'flags', '8p.cfg')):
        assert parsed([[spelling]]) == [runs['8p']]


def test_every_flagfile_is_a_recipe_or_a_machine():
    assert set(NAMES) == FRAGMENTS | MACHINES | set(RECIPES) | {'short', 'cpu', 'demo', 'realistic'}


@pytest.mark.parametrize('name', sorted(RUNS))
def test_intervals_are_multiples_of_the_loops(runs, name):
    run = dict(DEFAULTS, **runs[name])
    assert all(run[count] % run['iterations_per_loop'] == 0 for count in names_with('counts_steps', TrainingConfig))


@pytest.mark.parametrize('recipe', sorted(RECIPES))
def test_the_whole_batch_is_that_of_the_paper(parsed, recipe):
    for machine, run in zip(('1p', '8p'), parsed([[recipe, '1p'], [recipe, '8p']])):
        run = dict(DEFAULTS, **run)
        assert run['num_devices'] == int(machine[0]) and run['batch_size'] * run['num_devices'] == 32


@pytest.mark.parametrize('recipe', sorted(RECIPES))
def test_the_head_of_a_recipe_has_its_commands(recipe):
    with open(os.path.join(ROOT, 'flags', recipe + '.cfg')) as file:
        text = file.read()
    assert '#   python -m edvr.train --flagfile=%s --flagfile=8p ' % recipe in text
    assert '--fill=none' in text


def test_recipes(runs):
    """Prints the table, and compares it with the published one."""
    print('%-20s %8s %6s %6s %5s %5s %7s %-38s %s' % ('recipe', 'channels', 'blocks', 'frames', 'scale', 'patch',
                                                      'steps', 'periods', 'weights'))
    for name, row in sorted(RECIPES.items()):
        run = dict(DEFAULTS, **runs[name])
        scale = 1 if run['hr_in'] else run['scale']
        found = (run['channels'], run['num_extract_block'], run['num_reconstruct_block'], run['num_frames'], scale,
                 run['patch_size'], run['learning_rate'], tuple(run['cosine_periods']), tuple(run['restart_weights']))
        print('%-20s %8d %3d+%2d %6d %5d %5d %7d %-38s %s' % (
            (name,) + found[:6] + (run['steps'], ','.join(map(str, found[7])), ','.join('%g' % w for w in found[8]))))
        assert found == row[:-1], name
        assert (run['steps'], sum(run['cosine_periods']), run['learning_rate_min']) == (600000, 600000, 1e-7)
        assert (run['beta1'], run['beta2'], run['loss'], run['loss_reduction']) == (.9, .99) + (
            ('l1', 'mean') if name == 'edvr_m_g1' else ('charbonnier', 'sum'))
        assert run['deform_groups'] == (1 if name == 'edvr_m_g1' else 8)
        assert run['with_tsa'] is ('stage1' not in name)
        assert run['with_predeblur'] is ('blur' in name) and run['hr_in'] is ('deblur' in name)
        assert run['tsa_only_steps'] == (50000 if 'stage2' in name else 0)
        assert run['ema_decay'] == (.999 if 'stage' in name else 0)
        assert run['init_from_ema'] is ('stage2' not in name)   # BasicSR's stage 2 reads `params`


@pytest.mark.parametrize('name', ['edvr_m', 'edvr_l_stage2'])
def test_networks_have_the_published_number_of_parameters(runs, name):
    """The network is one whose parameters test_network counts."""
    model = ModelConfig(**{field: value for field, value in runs[name].items()
                           if field in ModelConfig.__dataclass_fields__})
    count, = [count for options, count in PARAMETERS if ModelConfig(**options) == model]
    np.testing.assert_allclose(count / 1e6, RECIPES[name][-1], rtol=.003)


def test_short_ones_are_short(runs):
    assert all(runs[name]['steps'] <= 5000 for name in ('1p', '8p', 'cpu'))
    assert runs['1p_batch4']['batch_size'] == 4
