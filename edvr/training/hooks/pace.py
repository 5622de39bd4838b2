"""The speed of the steps since the last report."""
from edvr.training.model_fn import DATA_WAIT


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
        """Share of the time spent waiting for data, float; None where it is not measured."""
        return None if self.wait < 0 else min(1., self.wait / self.seconds)
