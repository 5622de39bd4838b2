"""What every program of the project shares: the error that is the user's to mend, and the way out of the process."""
import signal
import sys

from absl import app


class UserError(Exception):
    """Wrong input: the text names the thing, what it was, what it should be and what to do. No traceback."""


def run(main, argv=None):
    """Runs `main()` as a program: parses flags; a `UserError` or Ctrl-C ends it with one line and a non-zero code.

    Args:
      main: function without arguments; returns None or an exit code (int).
      argv: list of str, the command line with the program's name first; None means sys.argv.
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

    app.run(guarded, argv=argv)
