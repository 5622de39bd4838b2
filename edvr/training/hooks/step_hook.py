"""The only SessionRunHook of training: fetches the step and the watched numbers, and passes them to its callbacks.

One hook makes one fetch and calls its callbacks in a fixed order: on an accelerator each fetched tensor costs time, and
the guard must decide before anything is saved. With iterations_per_loop > 1 one session.run performs several steps; an
action of "every N steps" happens at the first session.run that reaches or passes a multiple of N.
"""
import collections
import time

import tensorflow.compat.v1 as tf

from edvr.training.model_fn import STEP_KEY, WATCHED, WATCHED_KEY

Report = collections.namedtuple('Report', 'step previous values seconds session')
Report.__doc__ = """The result of a session.run.

step, previous: int, updates done after and before it; values: dict of float, by the names in model_fn.WATCHED, of its
last step; seconds: float, host time it took; session: tf.Session.
"""


def reached(report, every):
    """Whether a session.run reached or passed a multiple of `every` steps (0: never)."""
    return bool(every) and report.step // every > report.previous // every


class Control:
    """The state that the callbacks share.

    Attributes:
      signal: int, the signal that ends the run, or None.
      waits: bool, whether this process waits for other ranks and has nothing to save.
      rollback: str, why the run must go back to its last checkpoint, or None.
    """

    def __init__(self):
        self.signal = None
        self.waits = False
        self.rollback = None

    @property
    def stopping(self):
        return self.signal is not None or self.rollback is not None


class Callback:
    """Base of the callbacks, with actions at the start, after each session.run, and at an orderly end."""

    def build(self):
        """May add to the graph."""

    def start(self, session, step):
        pass

    def after_run(self, report):
        pass

    def finish(self, session, step):
        pass


class LoopHook(tf.train.SessionRunHook):
    """Calls the callbacks; ends the session when `control.stopping`."""

    def __init__(self, callbacks, control):
        self._callbacks, self._control = list(callbacks), control

    def begin(self):
        graph = tf.get_default_graph()
        # under a strategy every replica adds its own tensor, and all are equal
        self._fetches = [graph.get_collection(key)[0] for key in (STEP_KEY, WATCHED_KEY)]
        for callback in self._callbacks:
            callback.build()

    def after_create_session(self, session, coord):
        self._step = int(session.run(tf.train.get_global_step(session.graph)))
        for callback in self._callbacks:
            callback.start(session, self._step)

    def before_run(self, run_context):
        self._began = time.perf_counter()
        return tf.train.SessionRunArgs(self._fetches)

    def after_run(self, run_context, run_values):
        seconds = time.perf_counter() - self._began
        step, values = run_values.results
        report = Report(int(step), self._step, dict(zip(WATCHED, values.tolist())), seconds, run_context.session)
        self._step = report.step
        for callback in self._callbacks:
            callback.after_run(report)
        if self._control.stopping:
            run_context.request_stop()

    def end(self, session):
        for callback in self._callbacks:
            callback.finish(session, self._step)
