"""Where a chip runs the operator of the deformable convolutions: the rules of AI Core, and what auto makes of them."""
import pytest
from facts import check_facts

from edvr.config import ModelConfig, RuntimeConfig
from edvr.devices import device_of, npu_chips
from edvr.devices.npu_chips import describe, find, gradient_obstacle, listed, obstacle, place, table


@pytest.mark.parametrize('name, kind, cores', [
    ('Ascend910A', 'Ascend 910', 32), ('Ascend910B', 'Ascend 910, 30 cores', 30),
    ('ascend910b1', 'Atlas A2, 910B1', 24), ('910B3', 'Atlas A2, 910B3', 20), ('Ascend910B4', 'Atlas A2', 20),
    ('Ascend910_9391', 'Atlas A3', 24), ('Ascend310P3', 'Ascend 310P', 8),
    ('Ascend310', 'Ascend 310', 2), ('Ascend310B4', 'Ascend 310B', 1), ('Ascend950PR_9589', 'Ascend 950', 1)])
def test_chips_by_name(name, kind, cores):
    assert (find(name).name, find(name).cores) == (kind, cores)


@pytest.mark.parametrize('name', ['', 'Ascend910', 'nonsense'])
def test_other_names_are_unknown(name):
    assert find(name) is npu_chips.UNKNOWN


@pytest.mark.parametrize('name, family, cores', [
    ('910b', '910b', 20), ('Ascend910B1', '910b', 24), ('Ascend910B', '910', 30), ('910', '910', 32),
    ('310p', '310p', 8), (' 910_93', '910_93', 24), ('310', '310', 2), ('310b', '310b', 1)])
def test_chips_of_the_operator_table_by_family_and_by_name(name, family, cores):
    assert (listed(name).family, listed(name).cores) == (family, cores)


@pytest.mark.parametrize('name', ['', '950', 'Ascend950PR', 'a100', '910c', '31'])
def test_chips_that_the_operator_table_lacks(name):
    assert listed(name) is npu_chips.UNKNOWN


@pytest.mark.parametrize('chip, channels, groups, text', [
    ('910A', 64, 8, ''), ('910A', 64, 16, '4 channels a group'), ('310P3', 64, 1, 'does not have the gradient'),
    ('950A', 64, 16, '')])
def test_rules_of_the_gradient(chip, channels, groups, text):
    found = gradient_obstacle(find(chip), channels, groups)
    assert text in found and bool(text) == bool(found)


def test_a_training_is_shown_where_the_gradients_run():
    model = ModelConfig(channels=128)
    for chip, lines in (('Ascend910A', 1), ('Ascend310P3', 2)):
        device = device_of(RuntimeConfig(device='npu', soc_version=chip))
        assert len(device.placement(model, training=True)) == lines and len(device.placement(model)) == 1
    check_facts(device.placement(model, training=True)[1], 'gradients', 'AI CPU')


@pytest.mark.parametrize('chip, channels, groups, open_batch, half, text', [
    ('Ascend910A', 64, 1, False, False, ''), ('Ascend910A', 32, 1, False, False, ''),
    ('Ascend910A', 24, 1, False, False, '32 cores x 24 channels = 768'),
    ('Ascend910A', 64, 8, False, False, 'one deform group'), ('Ascend910A', 64, 1, True, False, '2048'),
    ('Ascend910A', 72, 1, True, False, ''), ('Ascend910A', 36, 1, False, False, 'no multiple of 8'),
    ('Ascend910A', 40, 1, False, True, 'no multiple of 16'), ('Ascend310P3', 64, 1, False, False, '512'),
    ('Ascend310P3', 128, 1, False, False, ''), ('Ascend310', 128, 1, False, False, 'does not have'),
    ('Ascend950A', 12, 3, True, False, '')])
def test_rules_of_ai_core(chip, channels, groups, open_batch, half, text):
    found = obstacle(find(chip), channels, groups, open_batch, half)
    assert text in found and bool(text) == bool(found)


@pytest.mark.parametrize('way, chip, channels, groups, open_batch, split, on_ai_core', [
    ('auto', 'Ascend910A', 64, 8, False, True, True), ('auto', 'Ascend910A', 64, 1, False, False, True),
    ('auto', 'Ascend910A', 64, 8, True, False, False), ('auto', 'Ascend310P3', 64, 8, False, False, False),
    ('auto', 'Ascend950A', 64, 8, True, False, True), ('auto', '', 64, 8, False, True, True),
    ('whole', 'Ascend910A', 64, 8, False, False, False), ('split', 'Ascend310P3', 64, 8, False, True, False),
    ('split', 'Ascend910A', 64, 1, False, False, True)])
def test_ways(way, chip, channels, groups, open_batch, split, on_ai_core):
    found = place(way, find(chip), channels, groups, open_batch)
    assert (found.split, not found.reason) == (split, on_ai_core)
    line = describe(way, find(chip), channels, groups, open_batch)
    assert ('AI CPU' in line) != on_ai_core and '--npu_dcn=%s' % way in line


def test_the_table_of_an_export():
    rows = {row['chip']: row for row in table(64, 8, False)}
    assert len(rows) == len(npu_chips.CHIPS)
    assert (rows['Atlas A2']['calls'], rows['Atlas A2']['runs_on']) == (8, 'AI Core')
    assert (rows['Ascend 310P']['calls'], rows['Ascend 310P']['runs_on']) == (1, 'AI CPU')
    assert '512' in rows['Ascend 310P']['reason']
