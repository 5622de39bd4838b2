"""Configurations check themselves, survive JSON, and become flags."""
import subprocess
import sys

import pytest
from conftest import ROOT

from edvr.config import ConfigError, ModelConfig

PROGRAM = '''"""A program."""
from edvr import flags
from edvr.config import ModelConfig
flags.run(lambda: print(flags.build(ModelConfig).to_dict()), ModelConfig)
'''


def run_flags(*arguments):
    return subprocess.run([sys.executable, '-c', PROGRAM] + list(arguments), cwd=ROOT, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, universal_newlines=True)


def test_json_round_trip():
    config = ModelConfig(num_frames=7, with_tsa=False)
    assert ModelConfig.from_json(config.to_json()) == config


def test_unknown_field_is_named():
    with pytest.raises(ConfigError, match="ModelConfig has no option 'colour'"):
        ModelConfig.from_dict({'colour': 1})


def test_all_problems_at_once():
    with pytest.raises(ConfigError) as caught:
        ModelConfig(channels=0, scale=5, with_tsa=1)
    assert caught.value.problems == ['scale is 5; it must be one of 2, 3, 4', 'channels is 0; it must be at least 1',
                                     'with_tsa is 1; it must be bool']


@pytest.mark.parametrize('fields, text', [
    ({'num_frames': 4}, 'num_frames is 4; a window has a centre frame, so it must be odd'),
    ({'channels': 20}, r'deform_groups is 8, which does not divide channels \(20\)')])
def test_cross_field_problems(fields, text):
    with pytest.raises(ConfigError, match=text):
        ModelConfig(**fields)


def test_preset_and_explicit_flag():
    result = run_flags('--variant=L', '--num_reconstruct_block=3')
    assert "'channels': 128" in result.stdout and "'num_reconstruct_block': 3" in result.stdout, result.stderr


def test_wrong_flag_value_is_one_line_and_non_zero():
    result = run_flags('--num_frames=4')
    assert result.returncode == 1
    assert result.stderr.strip() == 'error: num_frames is 4; a window has a centre frame, so it must be odd'


def test_help_lists_flags_by_topic():
    result = run_flags('--help')
    assert result.returncode == 0 and 'network:' in result.stdout and '--deform_groups:' in result.stdout
