"""The documents agree with the code: programs, flags, files and links that they name exist; lines are short."""
import glob
import importlib.util
import os
import re

import pytest
import test_layout
from conftest import ROOT

# the long options in the documents that belong to other programs
FOREIGN = """
    help helpfull flagfile version cache_dir program from torch beam faults tensorflow fresh
    framework model soc_version input_format input_shape out_nodes dynamic_dims dynamic_batch_size precision_mode
    logdir array wrap service_port direct_running_mode direct_num_workers dask_client_address dask_npartitions
    flink_master parallelism environment_type environment_config job_endpoint project region temp_location
    sdk_container_image disk_size_gb
    force_reinstall no_deps install_for_all system_site_packages gpu wheel_dir pyproject output_reproducible seconds
    require_hashes spark master conf build_arg rm gpus shm_size
    onnx stronglyTyped minShapes optShapes maxShapes saveEngine"""
MADE = {'benchmarks/MACHINE.json'}   # files that the documents tell to make
DOCUMENTS = sorted(os.path.relpath(path, ROOT) for pattern in ('*.md', 'docs/*.md')
                   for path in glob.glob(os.path.join(ROOT, pattern)))
# a changelog names what is no longer there
CURRENT = [name for name in DOCUMENTS if name != 'CHANGELOG.md']


def read(name):
    with open(os.path.join(ROOT, name), encoding='utf-8') as file:
        return file.read()


@pytest.fixture(scope='module')
def options():
    """The names of all options, and their earlier names: set of str."""
    names = set()
    for path in glob.glob(os.path.join(ROOT, '*', '**', '*.py'), recursive=True):
        text = read(path)
        names.update(re.findall(r'^    (\w+): .*= ?option\(', text, re.M), re.findall(r"former='(\w+)'", text))
    return names


@pytest.mark.parametrize('name', DOCUMENTS)
def test_lines_are_short(name):
    long = [line for line in read(name).splitlines() if len(line) > 100 and not line.startswith('|')
            and not re.search(r'https?://', line)]
    assert not long


@pytest.mark.parametrize('name', DOCUMENTS)
def test_links_lead_somewhere(name):
    folder = os.path.dirname(os.path.join(ROOT, name))
    links = re.findall(r'\]\(([^)#\s]+)[^)]*\)|src="([^"]+)"', read(name))
    missing = [link for link in map(''.join, links)
               if not link.startswith('http') and not os.path.exists(os.path.join(folder, link))]
    assert not missing


@pytest.mark.parametrize('name', CURRENT)
def test_programs_exist(name):
    modules = set(re.findall(r'-m\s+((?:edvr|data_tools)\.\w+)', read(name)))
    assert not [module for module in modules if importlib.util.find_spec(module) is None]


@pytest.mark.parametrize('name', CURRENT)
def test_flags_exist(name, options):
    flags = {flag.replace('-', '_') for flag in re.findall(r'(?<![\w-])--([a-z][\w-]*)', read(name))}
    known = options.union(FOREIGN.split())
    assert not [flag for flag in flags if flag not in known and re.sub('^no', '', flag) not in known]


@pytest.mark.parametrize('name', CURRENT)
def test_files_exist(name):
    paths = {path.rstrip('.') for path in re.findall(
        r'(?<![\w/.])((?:\.ci|benchmarks|data_tools|docs|edvr|flags|scripts|tests)/[\w./*-]*)', read(name))}
    assert not [path for path in paths - MADE if not glob.glob(os.path.join(ROOT, path))]


@pytest.mark.parametrize('name', CURRENT)
def test_modules_exist(name):
    modules = set(re.findall(r'`((?:edvr|data_tools)(?:\.[a-z]\w*)+)`', read(name)))
    paths = {module: os.path.join(ROOT, *module.split('.')) for module in modules}
    assert not [module for module, path in paths.items() if not (os.path.isdir(path) or os.path.isfile(path + '.py'))]


def test_the_layout_lists_every_room():
    layout = read('BUILD.md').partition('## The layout')[2]
    rooms = {os.path.basename(os.path.dirname(path)) for package in ('data_tools', 'edvr')
             for path in glob.glob(os.path.join(ROOT, package, '*', '__init__.py'))}
    assert not [room for room in rooms if not re.search(r'^ .*\b%s/ ' % room, layout, re.M)]


def test_the_drawing_of_the_rooms_is_their_order():
    drawing = re.search(r'```\nedvr (.*?)data_tools (.*?)```', read('docs/architecture.md'), re.S)
    for block, levels in zip(drawing.groups(), (test_layout.EDVR, test_layout.DATA_TOOLS)):
        assert [sorted(line.split()) for line in block.strip().splitlines()] == [
            sorted(level.split()) for level in reversed(levels)]
