"""The speed of the steps since the last report."""
from typing import Optional

from edvr.training.hooks.step_hook import Report
from edvr.training.model_fn import DATA_WAIT


class Interval:
    """Sums over the session.runs since the last line or point.

    Attributes:
      steps: updates done.
      seconds: host time they took.
      wait: seconds that they waited for data; negative if that is not measured.
    """

    def __init__(self, batch: int) -> None:
        self._batch = batch
        self.clear()

    def clear(self) -> None:
        """Begins a new interval."""
        self.steps, self.seconds, self.wait = 0, 0., 0.

    def add(self, report: Report) -> None:
        """Adds a session.run."""
        self.steps += report.step - report.previous
        self.seconds += report.seconds
        # -1 if it is not measured
        self.wait += report.values[DATA_WAIT]

    @property
    def step_seconds(self) -> float:
        """Seconds of a step."""
        return self.seconds / self.steps

    @property
    def samples_per_second(self) -> float:
        """Samples in a second, over all devices."""
        return self._batch * self.steps / self.seconds

    @property
    def wait_share(self) -> Optional[float]:
        """Returns the share of the time spent waiting for data; None if it is not measured."""
        return None if self.wait < 0 else min(1., self.wait / self.seconds)
