"""The speed of the steps since the last report, the sets that their samples are of, and the hours of the devices."""
import time
from typing import Callable, Dict, Optional, Tuple

from edvr.training.hooks.step_hook import Report
from edvr.training.model_fn import DATA_WAIT, LOSS, SHARE


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
        self._sets: Dict[str, float] = {}

    def add(self, report: Report) -> None:
        """Adds a session.run."""
        self.steps += report.step - report.previous
        self.seconds += report.seconds
        # -1 if it is not measured
        self.wait += report.values[DATA_WAIT]
        for name, value in report.values.items():
            if name.startswith((SHARE, LOSS)):
                self._sets[name] = self._sets.get(name, 0.) + value

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

    @property
    def sets(self) -> Dict[str, Tuple[float, float]]:
        """Returns {name of a set: (share of the samples, mean loss of a value, NaN without samples)}."""
        shares = {name[len(SHARE):]: value for name, value in self._sets.items() if name.startswith(SHARE)}
        total = sum(shares.values())
        return {name: (share / total, self._sets[LOSS + name] / share if share else float('nan'))
                for name, share in shares.items()}


class DeviceHours:
    """Counts the hours of all devices of a run together."""

    def __init__(self, devices: int, before: float = 0., clock: Callable[[], float] = time.time) -> None:
        """Begins to count.

        Args:
          devices: of the job, all of which are occupied.
          before: hours of earlier sessions.
          clock: returns the seconds since 1970.
        """
        self._devices, self._before, self._clock, self._began = devices, before, clock, clock()

    def __call__(self) -> float:
        """Returns the hours until now."""
        return self._before + self._devices * (self._clock() - self._began) / 3600.
