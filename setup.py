"""Lists the packages. pyproject.toml has everything else, but cannot map `flags/` to the package `edvr.flagfiles`."""
from setuptools import find_packages, setup

setup(packages=find_packages(include=['data_tools*', 'edvr*']) + ['edvr.flagfiles'],
      package_dir={'edvr.flagfiles': 'flags'},
      package_data={'data_tools': ['py.typed'], 'edvr': ['py.typed'],
                    'edvr.ops': ['native/*.cc', 'native/*.h', 'cuda/*.cc', 'cuda/*.cu', 'cuda/*.h'],
                    'edvr.placement': ['*.tsv'],
                    'edvr.flagfiles': ['*.cfg']},
      include_package_data=False)
