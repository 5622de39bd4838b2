"""Imports point downwards: the order of the rooms, stated once."""
import ast
import functools
import glob
import os

import pytest
from conftest import ROOT

# From the lowest to the highest; a room imports itself and those before it. What is on one line may not import each
# other. A room is a package, a module of its own level is named after it. Programs are the modules directly in
# data_tools and edvr; nothing imports a program.
DATA_TOOLS = ['base', 'record media', 'packing lq reds sample']
EDVR = ['graph_mode', 'launch ops', 'devices', 'config', 'flags', 'tensorboard', 'checkpoints', 'network',
        'pytorch data', 'exporting', 'restore', 'sharing', 'evaluation output',
        'training', 'training.rundir', 'training.hooks', 'training.training_run',
        'demonstration placement replaying', 'benchmarks']
LEVELS = {'%s.%s' % (package, room): level for package, levels in (('data_tools', DATA_TOOLS), ('edvr', EDVR))
          for level, rooms in enumerate(levels) for room in rooms.split()}


@functools.lru_cache(maxsize=None)
def modules():
    paths = [path for package in ('data_tools', 'edvr')
             for path in glob.glob(os.path.join(ROOT, package, '**', '*.py'), recursive=True)]
    return sorted(os.path.relpath(path, ROOT)[:-len('.py')].replace(os.sep, '.') for path in paths
                  if os.path.basename(path) != '__init__.py')


@functools.lru_cache(maxsize=None)
def named(module):
    """The names that a module imports, anywhere in it but for annotations: set of str."""
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
    return names


def imported(module):
    """The names of ours that a module imports: set of str."""
    return {name for name in named(module) if name.split('.')[0] in ('data_tools', 'edvr')}


def room(name):
    """The room of a module or of a name in it; the first two names for a program."""
    parts = name.split('.')
    rooms = ['.'.join(parts[:count]) for count in range(len(parts), 1, -1)]
    return next((each for each in rooms if each in LEVELS), rooms[-1])


def is_program(name):
    return room(name) not in LEVELS and room(name) in modules()


@pytest.mark.parametrize('module', modules())
def test_imports_point_downwards(module):
    package = module.rpartition('.')[0]
    assert module in LEVELS or package in LEVELS or is_program(module), '%s is in no room of the list' % module
    for name in imported(module):
        assert not is_program(name), '%s imports the program %s' % (module, room(name))
        if module.startswith('data_tools.'):
            assert name.startswith('data_tools.'), '%s imports %s: data_tools knows nothing of edvr' % (module, name)
        if is_program(module) or room(name) == room(module) or name.split('.')[0] != module.split('.')[0]:
            continue
        if room(name) in LEVELS:   # not what a package itself defines
            assert LEVELS[room(name)] < LEVELS[room(module)], '%s imports %s, which is not lower' % (module, name)


def test_no_module_imports_itself_through_others():
    done, path = set(), []

    def visit(module):
        assert module not in path, 'a circle: ' + ' -> '.join(path[path.index(module):] + [module])
        if module in done:
            return
        path.append(module)
        for name in sorted(imported(module)):
            target = name if name in modules() else name.rpartition('.')[0]
            if target in modules():
                visit(target)
        done.add(path.pop())

    for module in modules():
        visit(module)


def test_only_one_module_imports_the_adapter():
    for module in modules():
        assert not any(name.split('.')[0] in ('npu_bridge', 'npu_device') for name in named(module)), module
