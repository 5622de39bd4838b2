"""The log line of a training run."""
import datetime
import time
from typing import Callable, Optional

import tensorflow.compat.v1 as tf

from data_tools.base.durations import duration
from edvr.config import TrainingConfig
from edvr.data.input_meter import InputMeter
from edvr.training.hooks import bottleneck
from edvr.training.hooks.pace import DeviceHours, Interval
from edvr.training.hooks.step_hook import Callback, Report, reached
from edvr.training.model_fn import offsets_of


class LogLine(Callback):
    """Prints a line every `log_every` steps."""

    def __init__(self, config: TrainingConfig, batch: int, hours: DeviceHours,
                 clock: Callable[[], float] = time.time, values_in_loss: int = 1,
                 meter: Optional[InputMeter] = None) -> None:
        """Prepares the line.

        Args:
          batch: samples in a step, over all devices.
          hours: of the devices.
          clock: returns the seconds since 1970.
          values_in_loss: number of terms of a summed loss; 1 for a mean.
          meter: of the input, or None.
        """
        self._config, self._hours, self._clock = config, hours, clock
        self._interval, self._values = Interval(batch, meter), values_in_loss

    def start(self, session: 'tf.Session', step: int) -> None:
        self._first_run, self._skipped = True, 0.

    def after_run(self, report: Report) -> None:
        interval, first = self._interval, self._first_run
        interval.add(report)
        if report.previous == 0 and self._values > 1:
            print('loss: a sum over %.3g million values, %.3g each' % (self._values / 1e6, report.values['loss']
                                                                      / self._values), flush=True)
        if reached(report, self._config.log_every):
            print(self._line(report), flush=True)
            interval.clear()
        elif first:
            interval.clear()   # the first run also optimises the graph (an accelerator compiles it)
        if first:
            self._first_run, self._since = False, (self._clock(), report.step)

    def _line(self, report: Report) -> str:
        values, interval = report.values, self._interval
        line = '%s Step:%d, lr:%.8f, loss:%.8f, time:%.2fms, fps:%.2f, eta:%s, device-hours:%.2f' % (
            datetime.datetime.fromtimestamp(self._clock()).strftime('%Y-%m-%d %H:%M:%S'), report.step,
            values['learning_rate'], values['loss'], interval.step_seconds * 1e3, interval.samples_per_second,
            duration(self._eta(report)), self._hours())
        line += ', %s, psnr:%.2fdB, |offset| %s' % (
            bottleneck.describe(interval.wait_share, interval.input_use), values['psnr'],
            ' '.join('%s:%.2f' % offset for offset in offsets_of(values).items()) or 'none')
        skipped, self._skipped = values['skipped'] - self._skipped, values['skipped']
        sets = ' '.join('%s:%.0f%% %.5f' % (name, 100 * share, loss) for name, (share, loss) in interval.sets.items())
        return line + (', sets ' + sets if sets else '') + (', skipped:%d' % skipped if skipped else '')

    def _eta(self, report: Report) -> float:
        """Returns the remaining seconds by the pace since the session began, with checkpoints and validation."""
        if self._first_run or report.step == self._since[1]:
            pace = self._interval.step_seconds
        else:
            pace = (self._clock() - self._since[0]) / (report.step - self._since[1])
        return pace * max(0, self._config.steps - report.step)
