"""Reports skipped updates and requests a rollback."""
import sys

import tensorflow.compat.v1 as tf

from edvr.config import TrainingConfig
from edvr.training import update_guard
from edvr.training.hooks.step_hook import Callback, Control, Report
from edvr.training.model_fn import offsets_of


class Guard(Callback):
    """Reports skipped updates on stderr, and requests a rollback after `bad_steps` of them in a row."""

    def __init__(self, config: TrainingConfig, control: Control, prints: bool = True) -> None:
        """Prepares the guard; `prints` is whether this rank prints."""
        self._config, self._control, self._prints = config, control, prints

    def start(self, session: 'tf.Session', step: int) -> None:
        self._skipped = 0.

    def after_run(self, report: Report) -> None:
        values = report.values
        streak, skipped, self._skipped = values['streak'], values['skipped'] - self._skipped, values['skipped']
        self._control.steps += report.step - report.previous
        self._control.skipped += round(skipped)
        if values['faults']:
            self._control.reason = update_guard.explain(values['faults'])
        if skipped and self._prints:
            print('GUARD: step %d: %d update(s) skipped, %d in a row; %s (loss %g, gradient norm %g, |offset| %s)' % (
                report.step, skipped, streak,
                update_guard.explain(values['faults']) or 'the last step was applied again',
                values['loss'], values['gradient_norm'],
                ' '.join('%s:%g' % offset for offset in offsets_of(values).items()) or 'none'),
                file=sys.stderr, flush=True)
        if streak >= self._config.bad_steps:
            self._control.rollback = 'step %d: %d updates in a row were skipped: %s' % (
                report.step, streak, update_guard.explain(values['faults']))
