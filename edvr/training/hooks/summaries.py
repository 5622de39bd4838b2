"""TensorBoard curves of a run."""
from typing import Any, Dict, Optional

import tensorflow.compat.v1 as tf

from edvr.config import RuntimeConfig, TrainingConfig
from edvr.data.input_meter import InputMeter
from edvr.tensorboard.run_record import RunRecord
from edvr.training import optimizer
from edvr.training.hooks.pace import DeviceHours, Interval
from edvr.training.hooks.step_hook import Callback, Report, reached
from edvr.training.model_fn import offsets_of


class Curves(Callback):
    """Writes TensorBoard points every `summary_every` steps."""

    def __init__(self, config: TrainingConfig, batch: int, values_in_loss: int, record: RunRecord,
                 hours: DeviceHours, runtime: Optional[RuntimeConfig] = None,
                 meter: Optional[InputMeter] = None) -> None:
        """Prepares the curves.

        Args:
          batch: samples in a step, over all devices.
          values_in_loss: number of terms of a summed loss; 1 for a mean.
          record: of the run.
          hours: of the devices.
          runtime: for the loss scale; None has none.
          meter: of the input, or None.
        """
        self._config, self._values, self._record = config, values_in_loss, record
        self._hours = hours
        self._runtime = runtime or RuntimeConfig()
        self._scale: Any = None
        self._interval = Interval(batch, meter)

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
                scalars['watch_update/ema_decay'] = optimizer.ema_decay(report.step - 1, self._config.ema_decay)
            if self._runtime.loss_scale == 'fixed':
                scalars['watch_update/loss_scale'] = self._runtime.loss_scale_value
            elif self._scale is not None:
                scalars['watch_update/loss_scale'] = float(report.session.run(self._scale))
            self._record.scalars(report.step, scalars)
            self._interval.clear()

    def _scalars(self, values: Dict[str, float]) -> Dict[str, float]:
        interval = self._interval
        scalars = {'train/loss': values['loss'], 'train/loss_per_pixel': values['loss'] / self._values,
                   'train/psnr': values['psnr'], 'train/learning_rate': values['learning_rate'],
                   'watch_update/gradient_norm': values['gradient_norm'], 'watch_update/skipped': values['skipped'],
                   'watch_speed/samples_per_second': interval.samples_per_second,
                   'watch_speed/step_ms': 1e3 * interval.step_seconds, 'watch_speed/device_hours': self._hours()}
        if interval.wait_share is not None:
            scalars['watch_input/data_wait_share'] = interval.wait_share
        use = interval.input_use
        if use is not None:
            scalars.update({'watch_input/read_mb_per_second': use.read_mb_per_s, 'watch_input/samples_ready': use.ready,
                            'watch_input/decoding_busy_share': use.decoding,
                            'watch_input/own_cores_share': use.own_cores, 'watch_input/all_cores_share': use.all_cores})
        scalars.update(('watch_offset/' + level, value) for level, value in offsets_of(values).items())
        for name, (share, loss) in interval.sets.items():
            scalars['watch_data/share/' + name] = share
            if share:
                scalars['watch_data/loss_per_pixel/' + name] = loss
        return scalars


class End(Callback):
    """Records that the run has made its last step."""

    def __init__(self, config: TrainingConfig, record: RunRecord) -> None:
        """Prepares the mark."""
        self._config, self._record = config, record

    def finish(self, session: 'tf.Session', step: int) -> None:
        if step >= self._config.steps:
            self._record.ended(step)
