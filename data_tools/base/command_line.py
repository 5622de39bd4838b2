"""The command line of a program with its flagfiles expanded: every argument and where it was given."""
import os
import re
import typing

from data_tools.base.errors import UserError

SUFFIX = '.cfg'
_DIRECTIVE = re.compile(r'--?flagfile(=(.*))?$')
_FLAG = re.compile(r'--?(\w+)(=|$)')


class CommandLine(typing.NamedTuple):
    """The command line of a program.

    typed: list of str, the arguments as they were typed. arguments: list of str, the same with the lines of a flagfile
    in place of each --flagfile. names: frozenset of str, the flags given on the command line itself, as they were
    spelled (with `no` in front of a boolean that is switched off). flagfiles: {path: text} of all flagfiles read.
    """
    typed: typing.List[str]
    arguments: typing.List[str]
    names: typing.FrozenSet[str]
    flagfiles: typing.Dict[str, str]

    def gives(self, name):
        """Whether the flag `name` is given on the command line itself, and not only in a flagfile."""
        return name in self.names or 'no' + name in self.names


def read(typed, folder=None):
    """The CommandLine of the arguments `typed` (list of str, without the program's name).

    A flagfile holds one argument a line; lines that begin with # or // are comments. It may name other flagfiles. A
    flagfile is looked for as a path (inside a flagfile first relative to that file), then by its name (`8p`, `8p.cfg`,
    `flags/8p.cfg`) in `folder`.

    Raises:
      UserError: a flagfile that is missing, cannot be read, or includes itself.
    """
    flagfiles = {}
    arguments = _expand(typed, None, folder, (), flagfiles)
    own = typed[:typed.index('--')] if '--' in typed else typed
    names = frozenset(match.group(1) for match in map(_FLAG.match, own) if match)
    return CommandLine(list(typed), arguments, names, flagfiles)


def _expand(arguments, parent, folder, open_files, flagfiles):
    """`arguments` with the lines of flagfiles in place of their names; `parent` is the flagfile that holds them."""
    expanded, rest = [], list(arguments)
    while rest:
        argument = rest.pop(0)
        directive = _DIRECTIVE.match(argument)
        if argument == '--':
            return expanded + [argument] + rest
        if not directive:
            expanded.append(argument)
            continue
        name = directive.group(2) if directive.group(1) else (rest.pop(0) if rest else '')
        path = _find(name.strip(), parent, folder)
        if path in open_files:
            raise UserError('--flagfile=%s: %s includes itself, through %s' % (name, path, ', '.join(open_files)))
        flagfiles[path] = _text(path)
        lines = [line.strip() for line in flagfiles[path].splitlines()]
        expanded += _expand([line for line in lines if line and not line.startswith(('#', '//'))], path, folder,
                            open_files + (path,), flagfiles)
    return expanded


def _find(name, parent, folder):
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


def _text(path):
    try:
        with open(path, encoding='utf-8') as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError('--flagfile=%s cannot be read: %s' % (path, error)) from None
