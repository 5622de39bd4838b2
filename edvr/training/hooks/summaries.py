"""TensorBoard curves of a run."""
from typing import Any, Dict, Optional

import tensorflow.compat.v1 as tf

from edvr.config import RuntimeConfig, TrainingConfig
from edvr.tensorboard.run_events import RunEvents
from edvr.training import optimizer
from edvr.training.hooks.pace import Interval
from edvr.training.hooks.step_hook import Callback, Report, reached
from edvr.training.model_fn import offsets_of


class Curves(Callback):
    """Writes TensorBoard points every `summary_every` steps."""

    def __init__(self, config: TrainingConfig, batch: int, values_in_loss: int, events: RunEvents,
                 runtime: Optional[RuntimeConfig] = None) -> None:
        """Prepares the curves.

        Args:
          batch: samples in a step, over all devices.
          values_in_loss: number of terms of a summed loss; 1 for a mean.
          runtime: for the loss scale; None has none.
        """
        self._config, self._values, self._events = config, values_in_loss, events
        self._runtime = runtime or RuntimeConfig()
        self._scale: Any = None
        self._interval = Interval(batch)

    def build(self) -> None:
        if self._runtime.loss_scale == 'dynamic':
            # `loss_scale` of Ascend's adapter, `current_loss_scale` of TensorFlow; under a strategy the first replica's
            self._scale = next((variable.read_value() for variable in tf.global_variables()
                                if variable.op.name.split('/')[-1] in ('loss_scale', 'current_loss_scale')), None)

    def after_run(self, report: Report) -> None:
        self._interval.add(report)
        if reached(report, self._config.summary_every):
            scalars = self._scalars(report.values)
            if self._config.ema_decay:
                scalars['train/ema_decay'] = optimizer.ema_decay(report.step - 1, self._config.ema_decay)
            if self._runtime.loss_scale == 'fixed':
                scalars['train/loss_scale'] = self._runtime.loss_scale_value
            elif self._scale is not None:
                scalars['train/loss_scale'] = float(report.session.run(self._scale))
            self._events.scalars(report.step, scalars)
            self._interval.clear()

    def _scalars(self, values: Dict[str, float]) -> Dict[str, float]:
        interval = self._interval
        scalars = {'train/loss': values['loss'], 'train/loss_per_pixel': values['loss'] / self._values,
                   'train/psnr': values['psnr'], 'train/learning_rate': values['learning_rate'],
                   'train/gradient_norm': values['gradient_norm'], 'guard/skipped_updates': values['skipped'],
                   'speed/samples_per_second': interval.samples_per_second,
                   'speed/step_ms': 1e3 * interval.step_seconds}
        if interval.wait_share is not None:
            scalars['speed/data_wait_share'] = interval.wait_share
        scalars.update(('offset/' + level, value) for level, value in offsets_of(values).items())
        for name, (share, loss) in interval.sets.items():
            scalars['data/share/' + name] = share
            if share:
                scalars['data/loss_per_pixel/' + name] = loss
        return scalars
