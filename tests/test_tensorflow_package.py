"""A missing TensorFlow, and one of another version, is one line with the remedy."""
import inspect
import os
import subprocess
import sys
import types

import pytest
from conftest import ROOT
from facts import check_error, raises_facts

from data_tools.base import tensorflow_package
from data_tools.base.errors import UserError


class Missing:
    """Finds no TensorFlow, as a host without it."""

    @staticmethod
    def find_spec(name, *_):
        if name == 'tensorflow':
            raise ModuleNotFoundError("No module named 'tensorflow'", name=name)


@pytest.fixture
def installed(monkeypatch):
    """Replaces the installed TensorFlow by one of a version, or by none."""
    def replace(version):
        names = [name for name in sys.modules if name.split('.')[0] == 'tensorflow']
        for name in names:
            monkeypatch.delitem(sys.modules, name)
        if not version:
            monkeypatch.setattr(sys, 'meta_path', [Missing] + sys.meta_path)
            return None
        parts = [types.ModuleType(name) for name in ('tensorflow', 'tensorflow.compat', 'tensorflow.compat.v1')]
        for outer, inner in zip(parts, parts[1:]):
            setattr(outer, inner.__name__.split('.')[-1], inner)
        parts[-1].__version__ = version
        for part in parts:
            monkeypatch.setitem(sys.modules, part.__name__, part)
        return parts[-1]
    return replace


@pytest.mark.parametrize('version', ['1.15.0', '1.15.5', '2.6.5', '2.13.1', '2.15.1'])
def test_versions_with_estimator_are_taken(installed, version):
    module = installed(version)
    assert tensorflow_package.load() is module


@pytest.mark.parametrize('version', ['1.14.0', '2.16.1', '2.20.0-rc0', 'unknown'])
def test_other_versions_are_refused(installed, version):
    installed(version)
    with raises_facts(UserError, 'TensorFlow ' + version, '1.15', '2.6 to 2.15', "pip install '.[tf]'", 'Ascend'):
        tensorflow_package.load()


def test_a_python_that_is_too_new_is_named(installed, monkeypatch):
    installed(None)
    monkeypatch.setattr(sys, 'version_info', (3, 12, 1))
    with raises_facts(UserError, 'TensorFlow is not installed', 'Python 3.12', '3.9 to 3.11', 'Estimator') as caught:
        tensorflow_package.load()
    assert "'.[tf]'" not in str(caught.value)   # pip would find nothing


@pytest.mark.parametrize('text', ['raise ImportError("libascend_hal.so: cannot open\\nshared object")',
                                  'raise TypeError("Descriptors cannot be created directly")', 'import no_such_module'])
def test_one_that_does_not_load_is_one_line(tmp_path, text):
    (tmp_path / 'tensorflow').mkdir()
    (tmp_path / 'tensorflow' / '__init__.py').write_text(text)
    done = program('edvr.export', '--checkpoint=nowhere', path=tmp_path)
    check_error(done, 'TensorFlow does not load', "pip install '.[tf]'")


@pytest.mark.parametrize('arguments', [
    ('edvr.train', '--device=cpu', '--input=null', '--model_dir=run'), ('edvr.infer', '--device=cpu', '--input=.'),
    ('edvr.evaluate', '--device=cpu', '--data_dir=.'), ('edvr.export',),
    ('edvr.import_weights', '--from=x.pth', '--output_dir=x'), ('edvr.benchmark', '--device=cpu'),
    ('data_tools.check_tfrecords', '--data_dir=gs://bucket/set')],
    ids=lambda arguments: arguments[0])
def test_programs_name_the_extra(tmp_path, arguments):
    (tmp_path / 'sitecustomize.py').write_text(
        'import sys\n%s\nsys.meta_path.insert(0, Missing)\n' % inspect.getsource(Missing))
    done = program(*arguments, path=tmp_path)
    check_error(done, 'TensorFlow is not installed', sys.executable, "pip install '.[tf]'", 'docs/install.md')


def program(module, *arguments, path):
    return subprocess.run([sys.executable, '-m', module] + list(arguments), cwd=str(path), timeout=60,
                          env=dict(os.environ, PYTHONPATH=os.pathsep.join([str(path), ROOT])),
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
