"""What a run shows: the log line, and the same numbers as TensorBoard curves."""
import datetime
import time

from edvr.training.loop import Part, reached
from edvr.training.model_fn import DATA_WAIT, LEVELS

MUCH = .1   # share of the time above which waiting for data is worth a word of advice


class Interval:
    """Sums over the session.runs since the last line or point."""

    def __init__(self, batch):
        self._batch = batch
        self.clear()

    def clear(self):
        self.steps, self.seconds, self.wait = 0, 0., 0.

    def add(self, report):
        self.steps += report.step - report.previous
        self.seconds += report.seconds
        # -1 where it is not measured
        self.wait += report.values[DATA_WAIT]

    @property
    def step_seconds(self):
        return self.seconds / self.steps

    @property
    def samples_per_second(self):
        return self._batch * self.steps / self.seconds

    @property
    def wait_share(self):
        """Share of the time that went by waiting for data, float; None where it is not measured."""
        return None if self.wait < 0 else min(1., self.wait / self.seconds)


class LogLine(Part):
    """Prints a line every `log_every` steps."""

    def __init__(self, config, batch, advice, clock=time.time):
        """
        Args:
          config: TrainingConfig.
          batch: int, samples in a step, over all devices.
          advice: str, the options to change when training waits for data.
          clock: function() -> seconds since 1970.
        """
        self._config, self._advice, self._clock = config, advice, clock
        self._interval = Interval(batch)

    def start(self, session, step):
        self._first_run, self._skipped = True, 0.

    def after_run(self, report):
        interval, first = self._interval, self._first_run
        interval.add(report)
        if reached(report, self._config.log_every):
            print(self._line(report), flush=True)
            interval.clear()
        elif first:
            interval.clear()   # the first run also optimises (on an accelerator: compiles) the graph
        if first:
            self._first_run, self._since = False, (self._clock(), report.step)

    def _line(self, report):
        values, interval = report.values, self._interval
        line = '%s Step:%d, lr:%.8f, loss:%.8f, time:%.2fms, fps:%.2f, eta:%s, %s, psnr:%.2fdB, |offset| %s' % (
            datetime.datetime.fromtimestamp(self._clock()).strftime('%Y-%m-%d %H:%M:%S'), report.step,
            values['learning_rate'], values['loss'], interval.step_seconds * 1e3, interval.samples_per_second,
            self._eta(report), describe_wait(interval.wait_share, self._advice), values['psnr'],
            ' '.join('%s:%.2f' % (level, values['offset_' + level]) for level in LEVELS))
        skipped, self._skipped = values['skipped'] - self._skipped, values['skipped']
        return line + (', skipped:%d' % skipped if skipped else '')

    def _eta(self, report):
        """From the pace since the session began, pauses for checkpoints and validation included."""
        if self._first_run or report.step == self._since[1]:
            pace = self._interval.step_seconds
        else:
            pace = (self._clock() - self._since[0]) / (report.step - self._since[1])
        return datetime.timedelta(seconds=round(pace * max(0, self._config.steps - report.step)))


def describe_wait(share, advice):
    """The share of time spent waiting for data, in words: str."""
    if share is None:
        return 'data wait not measured on this device'
    if share <= MUCH:
        return 'input-bound %.0f%%' % (100 * share)
    return 'waits for data %.0f%%: %s' % (100 * share, advice)


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
