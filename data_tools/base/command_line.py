"""The command line of a program with its flagfiles expanded: every argument, and the flags given on it directly."""
import os
import re
from typing import Dict, FrozenSet, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from data_tools.base import files
from data_tools.base.errors import UserError

SUFFIX = '.cfg'
DEFAULTS = 'defaults'
_DIRECTIVE = re.compile(r'--?(flagfile|%s)(=(.*))?$' % DEFAULTS)
_FLAG = re.compile(r'--?(\w+)(=|$)')


class CommandLine(NamedTuple):
    """The command line of a program.

    Attributes:
      typed: the arguments as they were typed.
      arguments: the same with the lines of a flagfile in place of each --flagfile, and flags by their present names.
      names: the flags given on the command line itself (with `no` in front of a boolean that is switched off).
      flagfiles: {path: text} of all flagfiles read.
    """
    typed: List[str]
    arguments: List[str]
    names: FrozenSet[str]
    flagfiles: Dict[str, str]

    def gives(self, name: str) -> bool:
        """Returns whether the flag `name` is given on the command line itself, and not only in a flagfile."""
        return name in self.names or 'no' + name in self.names


def read(typed: Sequence[str], folder: Optional[str] = None,
         renamed: Optional[Mapping[str, str]] = None) -> CommandLine:
    """Returns the CommandLine of the arguments `typed`, which do not contain the program's name.

    A flagfile holds one argument a line; lines that begin with # or // are comments. It may name other flagfiles. A
    flagfile is searched as a path (inside a flagfile first relative to that file), then by its name (`8p`, `8p.cfg`,
    `flags/8p.cfg`) in `folder`. The lines of a file that a flagfile names as `--defaults` come before all other
    arguments, so that all other flagfiles win over them in any order.

    Args:
      renamed: {earlier name of a flag: present name}.
    Raises:
      UserError: a flagfile that is missing, cannot be read, or includes itself.
    """
    reader = _Reader(folder, renamed or {})
    arguments = reader.expand(typed)
    own = typed[:list(typed).index('--')] if '--' in typed else typed
    names = frozenset(match.group(1) for match in map(_FLAG.match, map(reader.present_name, own)) if match)
    return CommandLine(list(typed), reader.defaults + arguments, names, reader.flagfiles)


class _Reader:
    """Expands flagfiles.

    Attributes:
      defaults: the lines of the files that flagfiles name as `--defaults`.
      flagfiles: {path: text} of all flagfiles read.
    """

    def __init__(self, folder: Optional[str], renamed: Mapping[str, str]) -> None:
        self._folder, self._renamed = folder, renamed
        self.defaults: List[str] = []
        self.flagfiles: Dict[str, str] = {}

    def expand(self, arguments: Sequence[str], open_files: Tuple[str, ...] = ()) -> List[str]:
        """Returns `arguments` with the lines of flagfiles in place of their names.

        Args:
          open_files: the flagfile that holds the arguments, after those that include it.
        """
        expanded: List[str] = []
        rest = list(arguments)
        while rest:
            argument = rest.pop(0)
            directive = _DIRECTIVE.match(argument)
            if argument == '--':
                return expanded + [argument] + rest
            if not directive or (directive.group(1) == DEFAULTS and not open_files):
                expanded.append(self.present_name(argument))
                continue
            name = directive.group(3) if directive.group(2) else (rest.pop(0) if rest else '')
            path = _find(name.strip(), open_files[-1] if open_files else None, self._folder)
            if path in open_files:
                raise UserError('--flagfile=%s: %s includes itself, through %s' % (name, path, ', '.join(open_files)))
            self.flagfiles[path] = _text(path)
            lines = [line.strip() for line in self.flagfiles[path].splitlines()]
            found = self.expand([line for line in lines if line and not line.startswith(('#', '//'))],
                                open_files + (path,))
            if directive.group(1) == DEFAULTS:
                self.defaults += found
            else:
                expanded += found
        return expanded

    def present_name(self, argument: str) -> str:
        """Returns an argument with the present name of its flag, if it has an earlier one."""
        for former, name in self._renamed.items():
            argument = re.sub(r'^(--?(?:no)?)%s(?==|$)' % former, r'\g<1>' + name, argument)
        return argument


def _find(name: str, parent: Optional[str], folder: Optional[str]) -> str:
    path = os.path.expanduser(name)
    places = [os.path.join(os.path.dirname(parent), path)] if parent else []
    places.append(path)
    short = re.match(r'(?:flags/)?(\w+)(?:\%s)?$' % SUFFIX, name)
    if folder and short:
        places.append(os.path.join(folder, short.group(1) + SUFFIX))
    for place in places:
        if os.path.isfile(place):
            return os.path.normpath(place)
    known = sorted(entry[:-len(SUFFIX)] for entry in os.listdir(folder) if entry.endswith(SUFFIX)) if folder else []
    raise UserError('--flagfile=%s%s: no such file%s' % (
        name, ' in %s' % parent if parent else '', '; those that come with the program: ' + ', '.join(known)
        if known else ''))


def _text(path: str) -> str:
    try:
        return files.read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError('--flagfile=%s cannot be read: %s' % (path, error)) from None
