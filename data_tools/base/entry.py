"""Refuses modules that are not programs in `python -m`."""
import glob
import os
import sys

_MAIN = "if __name__ == '__main__':"


def require_program(package_file):
    """Ends the process with an error if `python -m` names a module of the package that is not a program.

    Such a module would only define functions and end with 0, like a successful program. A package calls this function
    when it is imported: then Python is still searching the module, and sys.argv[0] is '-m'.

    Args:
      package_file: str, `__file__` of the package's `__init__.py`.
    """
    name = _asked() if sys.argv[:1] == ['-m'] else None
    folder = os.path.dirname(os.path.abspath(package_file))
    package = os.path.basename(folder)
    if not name or name.split('.')[0] != package:
        return
    path = os.path.join(os.path.dirname(folder), *name.split('.')) + '.py'
    if os.path.isfile(path) and not _is_program(path):
        programs = sorted(os.path.basename(path)[:-len('.py')] for path in glob.glob(os.path.join(folder, '*.py'))
                          if _is_program(path))
        sys.exit('error: %s is a module, not a program; the programs of %s are %s'
                 % (name, package, ', '.join(programs)))


def _asked():
    """The module after -m on the command line of this process: str, or None if it cannot be found."""
    try:
        with open('/proc/self/cmdline', 'rb') as file:
            words = file.read().decode(errors='replace').split('\0')
    except OSError:
        return None
    return words[words.index('-m') + 1] if '-m' in words[:-1] else None


def _is_program(path):
    with open(path, encoding='utf-8') as file:
        return _MAIN in file.read()
