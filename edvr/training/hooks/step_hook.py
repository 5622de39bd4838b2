"""The only SessionRunHook of training: fetches the step and the watched numbers, and passes them to its callbacks.

One hook makes one fetch and calls its callbacks in a fixed order: on an accelerator each fetched tensor costs time, and
the guard must decide before anything is saved. With iterations_per_loop > 1 one session.run performs several steps; an
action of "every N steps" happens at the first session.run that reaches or passes a multiple of N.
"""
import time
from typing import Any, Dict, Iterable, NamedTuple, Optional, Sequence

import tensorflow.compat.v1 as tf

from edvr.training.model_fn import STEP_KEY, WATCHED_KEY, named


class Report(NamedTuple):
    """The result of a session.run.

    Attributes:
      step: updates done after it.
      previous: updates done before it.
      values: {name: value} of its last step, see `model_fn.named`.
      seconds: host time it took.
      session: tf.Session.
    """
    step: int
    previous: int
    values: Dict[str, float]
    seconds: float
    session: Any


def reached(report: Report, every: int) -> bool:
    """Returns whether a session.run reached or passed a multiple of `every` steps (0: never)."""
    return bool(every) and report.step // every > report.previous // every


class Control:
    """The state that the callbacks share.

    Attributes:
      signal: number of the signal that ends the run, or None.
      following: number of the signal after which this rank goes on until rank 0 has ended, or None.
      waits: whether this process waits for other ranks and has nothing to save.
      rollback: why the run must go back to its last checkpoint, or None.
      steps, skipped: steps of all sessions, and how many of them changed nothing.
      reason: why the last one of these was skipped.
    """

    def __init__(self) -> None:
        self.signal: Optional[int] = None
        self.following: Optional[int] = None
        self.waits = False
        self.rollback: Optional[str] = None
        self.steps, self.skipped, self.reason = 0, 0, ''

    @property
    def stopping(self) -> bool:
        """Returns whether the session ends."""
        return self.signal is not None or self.rollback is not None


class Callback:
    """Base of the callbacks, with actions at the start, after each session.run, and at an orderly end."""

    def build(self) -> None:
        """Adds to the graph, if it needs to."""

    def start(self, session: 'tf.Session', step: int) -> None:
        """Acts before the first session.run, after `step` updates."""

    def after_run(self, report: Report) -> None:
        """Acts after a session.run."""

    def finish(self, session: 'tf.Session', step: int) -> None:
        """Acts at the orderly end of the session, after `step` updates."""


class LoopHook(tf.train.SessionRunHook):
    """Calls the callbacks; ends the session when `control.stopping`."""

    def __init__(self, callbacks: Iterable[Callback], control: Control, sets: Sequence[str] = ()) -> None:
        """Prepares the hook; `sets` are the names of the sets that the data mixes, none of a single set."""
        self._callbacks, self._control, self._sets = list(callbacks), control, sets

    def begin(self) -> None:
        graph = tf.get_default_graph()
        # under a strategy every replica adds its own tensor, and all are equal
        self._fetches = [graph.get_collection(key)[0] for key in (STEP_KEY, WATCHED_KEY)]
        for callback in self._callbacks:
            callback.build()

    def after_create_session(self, session: 'tf.Session', coord: Any) -> None:
        self._step = int(session.run(tf.train.get_global_step(session.graph)))
        for callback in self._callbacks:
            callback.start(session, self._step)

    def before_run(self, run_context: Any) -> Any:
        self._began = time.perf_counter()
        return tf.train.SessionRunArgs(self._fetches)

    def after_run(self, run_context: Any, run_values: Any) -> None:
        seconds = time.perf_counter() - self._began
        step, values = run_values.results
        report = Report(int(step), self._step, named(values.tolist(), self._sets), seconds, run_context.session)
        self._step = report.step
        for callback in self._callbacks:
            callback.after_run(report)
        if self._control.stopping:
            run_context.request_stop()

    def end(self, session: 'tf.Session') -> None:
        for callback in self._callbacks:
            callback.finish(session, self._step)
