"""Programs of the fault campaign: preloaded processes (see `preloaded`) with a limit on their time."""
import subprocess

import preloaded
from conftest import ROOT
from training_runs import environment

PATIENCE = 120   # seconds after which a program counts as hung


class Program:
    """A running program.

    Attributes:
      pid: int. poll, send_signal: see `preloaded.Process`.
    """

    def __init__(self, program, arguments, variables=None, file_limit=None, cwd=ROOT):
        """
        Args:
          program, arguments, file_limit, cwd: see `preloaded.start`.
          variables: {name: str}, added to the environment.
        """
        self._captured = preloaded.Captured(program, arguments, env=environment(**(variables or {})), cwd=cwd,
                                            file_limit=file_limit, converted=True)
        process = self._captured.process
        self.pid, self.poll, self.send_signal = process.pid, process.poll, process.send_signal

    def finish(self):
        """The finished program as subprocess.CompletedProcess with text; None for one that had to be killed."""
        try:
            return self._captured.finish(PATIENCE)
        except subprocess.TimeoutExpired:
            return None


def run(program, arguments, variables=None, file_limit=None, cwd=ROOT):
    """Runs a program to its end; see `Program` and `Program.finish`."""
    return Program(program, arguments, variables, file_limit, cwd).finish()
