"""How every program starts and ends: flags, help, one-line errors, exit codes."""
import re
import signal
import sys

from absl import app
from absl import flags as absl_flags

from data_tools.base.errors import UserError


def run(main, argv=None, topics=None):
    """Runs `main()` as a program: parses flags; a wrong flag, a `UserError` or Ctrl-C ends it with one line and a
    non-zero code. `--help` prints the program's docstring and its flags, and ends with 0.

    Args:
      main: function without arguments; returns None or an exit code (int).
      argv: list of str, the command line with the program's name first; None means sys.argv.
      topics: list of str, the modules under which the flags are defined, in the order of the help; None means the
        program itself.
    """
    def guarded(arguments):
        try:
            if len(arguments) > 1:
                raise UserError('unexpected argument %r: every option is a --flag=value; see --help' % arguments[1])
            return main()
        except UserError as error:
            print('error: %s' % error, file=sys.stderr, flush=True)
            return 1
        except KeyboardInterrupt:
            print('interrupted', file=sys.stderr, flush=True)
            return 128 + signal.SIGINT

    argv = sys.argv if argv is None else argv
    if any(re.match('--?(h|help|helpshort|helpfull)$', argument) for argument in argv[1:]):
        print(_help(topics))
        sys.exit(0)
    app.run(guarded, argv=argv, flags_parser=_parse)


def _help(topics):
    parts = [(sys.modules['__main__'].__doc__ or '').strip(),
             'Flags, one per option; --flagfile=FILE reads them from a file.']
    if topics is None:
        # without the program's path, which absl puts above its flags
        parts.append(absl_flags.FLAGS.main_module_help().strip('\n').partition('\n')[2])
    else:
        parts += [absl_flags.FLAGS.module_help(topic).strip('\n') for topic in topics]
    return '\n\n'.join(parts)


def _parse(argv):
    """The arguments that are no flags; a flag that is unknown or has a wrong value ends the program with one line."""
    try:
        return absl_flags.FLAGS(argv)
    except absl_flags.Error as error:
        text = ' '.join(str(error).replace('ERROR:: ', '').split()).rstrip(' ?.')
        # "flag --steps=x: invalid literal for int() with base 10: 'x'" speaks Python; say what the flag takes instead
        wrong = re.match(r'flag --(\w+)=(.*?): (invalid literal|could not convert|Expect argument|.{0,2}Non-boolean)',
                         text)
        if wrong:
            takes = absl_flags.FLAGS[wrong.group(1)].parser.syntactic_help or 'true or false'
            text = 'flag --%s=%s: %s expected' % (wrong.group(1), wrong.group(2), takes)
        text = re.sub(r'^flag (--\w+)=None: .*', r'\1 is not given', text)
        print('error: %s; see --help' % text, file=sys.stderr, flush=True)
        sys.exit(1)
