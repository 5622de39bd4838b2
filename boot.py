"""Starts a program of this project by the path of this file, as ModelArts starts its boot file.

  python /home/ma-user/modelarts/user-job-dir/edvr/boot.py --flagfile=8p --num_devices=0
  python boot.py --program=evaluate --checkpoint=RUN

--program names the program, `train` without it; all other arguments are those of the program. The file stays in the
root of the project; any folder may be the current one, to which relative paths refer.
"""
import importlib
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
PACKAGES = ('edvr', 'data_tools')


def fail(text):
    """Ends this process with one line."""
    print('error: ' + text, file=sys.stderr, flush=True)
    sys.exit(1)


def programs():
    """Returns {name: path} of the programs: the modules of the packages that have a function `run`."""
    found = {}
    for package in PACKAGES:
        folder = os.path.join(HERE, package)
        for file in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
            path = os.path.join(folder, file)
            if file.endswith('.py') and file != '__init__.py':
                with open(path, encoding='utf-8') as source:
                    if re.search(r'^def run\(\)', source.read(), re.MULTILINE):
                        found[file[:-len('.py')]] = path
    return found


def main():
    """Runs the program that the command line names."""
    chosen = [argument for argument in sys.argv[1:] if re.match('--?program=', argument)]
    name = chosen[-1].partition('=')[2] if chosen else 'train'
    known = programs()
    if not known:
        fail('%s has no package edvr beside it: start the boot.py in the root of the project, and give ModelArts that '
             'folder as the code directory' % HERE)
    if name not in known:
        fail('--program=%s: no such program; it must be one of %s' % (name, ', '.join(sorted(known))))
    # a program starts its ranks by the path in argv[0], and finds its packages by sys.path
    sys.argv = [known[name]] + [argument for argument in sys.argv[1:] if argument not in chosen]
    sys.path.insert(0, HERE)
    importlib.import_module('%s.%s' % (os.path.basename(os.path.dirname(known[name])), name)).run()


if __name__ == '__main__':
    main()
