"""The programs as commands of an installed package: `edvr-make-tfrecords` is `python -m data_tools.make_tfrecords`."""
import importlib.util
import os
import runpy
import sys

PREFIX = 'edvr-'


def main():
    """Runs the program that the command is named after."""
    name = os.path.basename(sys.argv[0])[len(PREFIX):].replace('-', '_')
    package = 'data_tools' if importlib.util.find_spec('data_tools.' + name) else 'edvr'
    runpy.run_module('%s.%s' % (package, name), run_name='__main__', alter_sys=True)
