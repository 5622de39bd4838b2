"""Imports point downwards: the order of the rooms, stated once."""
import ast
import glob
import os

import pytest
from conftest import ROOT

# From the lowest to the highest; a room imports itself and those before it. What is on one line may not import each
# other. Programs are the modules directly below data_tools and edvr; nothing imports a program.
DATA_TOOLS = ['base', 'record media', 'packing lq reds sample']
EDVR = ['graph_mode', 'launch ops', 'devices', 'config', 'flags', 'tensorboard', 'checkpoints', 'network',
        'pytorch data', 'exporting', 'restore', 'sharing', 'evaluation', 'output', 'training',
        'benchmarks demonstration']
LEVELS = {'%s.%s' % (package, room): level for package, levels in (('data_tools', DATA_TOOLS), ('edvr', EDVR))
          for level, rooms in enumerate(levels) for room in rooms.split()}


def modules():
    return sorted(os.path.relpath(path, ROOT)[:-len('.py')].replace(os.sep, '.')
                  for package in ('data_tools', 'edvr') for path in glob.glob(os.path.join(ROOT, package, '**', '*.py'),
                                                                              recursive=True))


def imported(module):
    """Names of our modules that a module imports, anywhere in it but for annotations: set of str."""
    with open(os.path.join(ROOT, module.replace('.', os.sep) + '.py')) as file:
        tree = ast.parse(file.read())
    names, nodes = set(), [tree]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.If) and getattr(node.test, 'id', None) == 'TYPE_CHECKING':
            continue
        nodes += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {'%s.%s' % (node.module, alias.name) for alias in node.names}
    return {name for name in names if name.split('.')[0] in ('data_tools', 'edvr')}


def room(name):
    return '.'.join(name.split('.')[:2])


def is_program(name):
    return room(name) not in LEVELS and os.path.isfile(os.path.join(ROOT, *room(name).split('.')) + '.py')


@pytest.mark.parametrize('module', [module for module in modules() if not module.endswith('__init__')])
def test_imports_point_downwards(module):
    for name in imported(module):
        assert not is_program(name), '%s imports the program %s' % (module, room(name))
        if module.startswith('data_tools.'):
            assert name.startswith('data_tools.'), '%s imports %s: data_tools knows nothing of edvr' % (module, name)
        if is_program(module) or room(name) == room(module) or name.split('.')[0] != module.split('.')[0]:
            continue
        assert LEVELS[room(name)] < LEVELS[room(module)], '%s imports %s, which is not below it' % (module, name)


def test_only_one_module_imports_the_adapter():
    for module in modules():
        with open(os.path.join(ROOT, module.replace('.', os.sep) + '.py')) as file:
            tree = ast.parse(file.read())
        for node in ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else (
                [node.module or ''] if isinstance(node, ast.ImportFrom) else [])
            assert not any(name.split('.')[0] in ('npu_bridge', 'npu_device') for name in names), module
