"""Entry and exit of every program: command line, help, one-line errors, exit codes."""
import errno
import os
import re
import signal
import sys
from typing import Callable, Collection, List, Mapping, Optional, Sequence

from absl import app
from absl import flags as absl_flags

from data_tools.base import command_line, interrupts, streams, usage
from data_tools.base.errors import UserError
from data_tools.base.version import __version__

_HELP = re.compile(r'--?(h|help|helpshort|helpfull|version)(?:=(.*))?$')
_started = command_line.read([])
# limits of the system, of which any call of any library may be the first to notice
_LIMITS = {errno.EMFILE: 'too many open files: raise ulimit -n', errno.ENFILE: 'too many open files on this host',
           errno.ENOMEM: 'out of memory: give this process more, or raise ulimit -v',
           errno.EAGAIN: 'too many processes or threads: raise ulimit -u'}


def started() -> command_line.CommandLine:
    """Returns the command line of this process; it is empty outside of programs."""
    return _started


def command(arguments: List[str]) -> List[str]:
    """Returns the command that starts this program again, with its arguments and then `arguments`."""
    spec = sys.modules['__main__'].__spec__
    return [sys.executable] + (['-m', spec.name] if spec else [sys.argv[0]]) + sys.argv[1:] + arguments


def run(main: Callable[[], Optional[int]], argv: Optional[Sequence[str]] = None, topics: Optional[List[str]] = None,
        common: Collection[str] = (), flagfiles: Optional[str] = None,
        renamed: Optional[Mapping[str, str]] = None) -> None:
    """Runs `main()` as a program.

    A wrong flag, a `UserError`, Ctrl-C, SIGTERM or SIGHUP ends the program with one line and a non-zero exit code.
    SIGTERM and SIGHUP raise `interrupts.Stopped`, so that partial files are removed. `--help` prints the docstring of
    the module of `main` and the flags, and exits with 0; `--version` prints the version. Output that nobody reads does
    not end the program, see `streams`.

    Args:
      main: returns None or an exit code.
      argv: the command line with the program's name first; None means sys.argv.
      topics: the modules under which the flags are defined, in the order of the help; None means the program itself.
      common: names of the flags that --help shows; empty shows all.
      flagfiles: folder of flagfiles that are known by their names; or None.
      renamed: {earlier name of a flag: present name}.
    """
    streams.guard()
    argv = sys.argv if argv is None else argv
    titles = [argv[0]] if topics is None else topics

    def guarded(arguments: List[str]) -> Optional[int]:
        if len(arguments) > 1:
            raise UserError('unexpected argument %r: every option is a --flag=value; see --help' % arguments[1])
        try:
            os.getcwd()
        except OSError as error:
            raise UserError('the current folder cannot be used (%s), perhaps it was removed: change to another one'
                            % error.strerror) from None
        return main()

    wanted = [match for match in map(_HELP.match, argv[1:]) if match]
    if wanted:
        doc = sys.modules[main.__module__].__doc__ or ''
        sys.exit(_reporting(lambda: print(_about(wanted[0], doc, titles, common, renamed or {}))))
    app.run(lambda arguments: _ending(_reporting(lambda: guarded(arguments))), argv=argv,
            flags_parser=lambda arguments: _parse(arguments, flagfiles, renamed))


def _reporting(action: Callable[[], Optional[int]]) -> Optional[int]:
    """Runs `action()`; returns the exit code."""
    try:
        with interrupts.raised(signal.SIGTERM, *interrupts.hangup()):
            return action()
    except UserError as error:
        return _failed(str(error))
    except MemoryError:
        return _failed(_LIMITS[errno.ENOMEM])
    except OSError as error:
        if error.errno not in _LIMITS:
            raise
        return _failed('%s (%s)' % (_LIMITS[error.errno], error))
    except RuntimeError as error:
        if "can't start new thread" not in str(error):
            raise
        return _failed('%s (%s)' % (_LIMITS[errno.EAGAIN], error))
    except KeyboardInterrupt as error:
        print('interrupted', file=sys.stderr, flush=True)
        return 128 + getattr(error, 'number', signal.SIGINT)


def _failed(text: str) -> int:
    print('error: %s' % text, file=sys.stderr, flush=True)
    return 1


def _ending(code: Optional[int]) -> Optional[int]:
    """Returns the exit code. From now on Ctrl-C ends the process at once; an exit handler would print a traceback."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return code


def _about(wanted: 're.Match[str]', doc: str, topics: List[str], common: Collection[str],
           renamed: Mapping[str, str]) -> str:
    kind, word = wanted.groups()
    if kind == 'version':
        return 'edvr ' + __version__
    if word:
        return usage.about(renamed.get(word.lstrip('-'), word), topics)
    return usage.full(doc, topics) if kind == 'helpfull' else usage.overview(doc, topics, common)


def _parse(argv: Sequence[str], flagfiles: Optional[str], renamed: Optional[Mapping[str, str]]) -> List[str]:
    """Returns the arguments that are not flags. An unknown flag or a wrong value ends the program with one line."""
    global _started
    try:
        _started = command_line.read(argv[1:], flagfiles, renamed)
        return absl_flags.FLAGS(list(argv[:1]) + _started.arguments)
    except UserError as error:
        text = str(error)
    except absl_flags.Error as error:
        text = ' '.join(str(error).replace('ERROR:: ', '').split()).rstrip(' ?.')
        # "flag --steps=x: invalid literal for int() with base 10: 'x'" is Python's wording; name what the flag takes
        wrong = re.match(r'flag --(\w+)=(.*?): (invalid literal|could not convert|Expect argument|.{0,2}Non-boolean)',
                         text)
        if wrong:
            takes = absl_flags.FLAGS[wrong.group(1)].parser.syntactic_help or 'true or false'
            text = 'flag --%s=%s: %s expected' % (wrong.group(1), wrong.group(2), takes)
        text = re.sub(r'^flag (--\w+)=None: .*', r'\1 is not given', text) + '; see --help'
    print('error: %s' % text, file=sys.stderr, flush=True)
    sys.exit(1)
