"""TensorBoard curves of a run."""
from edvr.training.hooks.pace import Interval
from edvr.training.hooks.step_hook import Part, reached
from edvr.training.model_fn import LEVELS


class Curves(Part):
    """Writes TensorBoard points every `summary_every` steps."""

    def __init__(self, config, batch, values_in_loss, events):
        """
        Args:
          config: TrainingConfig.
          batch: int, samples in a step, over all devices.
          values_in_loss: int, numbers that a summed loss adds up; 1 for a mean.
          events: RunEvents.
        """
        self._config, self._values, self._events = config, values_in_loss, events
        self._interval = Interval(batch)

    def after_run(self, report):
        self._interval.add(report)
        if reached(report, self._config.summary_every):
            self._events.scalars(report.step, self._scalars(report.values))
            self._interval.clear()

    def _scalars(self, values):
        interval = self._interval
        scalars = {'train/loss': values['loss'], 'train/loss_per_pixel': values['loss'] / self._values,
                   'train/psnr': values['psnr'], 'train/learning_rate': values['learning_rate'],
                   'train/gradient_norm': values['gradient_norm'], 'guard/skipped_updates': values['skipped'],
                   'speed/samples_per_second': interval.samples_per_second,
                   'speed/step_ms': 1e3 * interval.step_seconds}
        if interval.wait_share is not None:
            scalars['speed/data_wait_share'] = interval.wait_share
        scalars.update(('offset/' + level, values['offset_' + level]) for level in LEVELS)
        return scalars
