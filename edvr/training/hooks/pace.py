"""The speed of the steps since the last report, the sets that their samples are of, and the hours of the devices."""
import os
import time
from typing import Callable, Dict, NamedTuple, Optional, Tuple

from edvr.data.input_meter import Count, InputMeter
from edvr.training.hooks.bottleneck import InputUse
from edvr.training.hooks.step_hook import Report
from edvr.training.model_fn import DATA_WAIT, LOSS, SHARE


class Interval:
    """Sums over the session.runs since the last line or point.

    Attributes:
      steps: updates done.
      seconds: host time they took.
      wait: seconds that they waited for data; negative if that is not measured.
    """

    def __init__(self, batch: int, meter: Optional[InputMeter] = None) -> None:
        """Begins the first interval.

        Args:
          batch: samples in a step, over all devices.
          meter: of the input, or None.
        """
        self._batch, self._meter = batch, meter
        self._first: Optional[int] = None   # step at which the session began
        self.clear()

    def clear(self) -> None:
        """Begins a new interval."""
        self.steps, self.seconds, self.wait = 0, 0., 0.
        self._reports, self._ready = 0, 0.
        self._began = _now(self._meter)
        self._sets: Dict[str, float] = {}

    def add(self, report: Report) -> None:
        """Adds a session.run."""
        self.steps += report.step - report.previous
        self.seconds += report.seconds
        self._first = report.previous if self._first is None else self._first
        self._reports += 1
        self._ready += self._meter.ready(report.step - self._first) if self._meter else 0.
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
    def input_use(self) -> Optional[InputUse]:
        """Returns what the input did, None without a meter."""
        if self._meter is None:
            return None
        before, now = self._began, _now(self._meter)
        cores = max(1e-9, (now.clock - before.clock) * (os.cpu_count() or 1))
        own = (now.own - before.own) / cores
        read, decoding = (getattr(now.input, name) - getattr(before.input, name) for name in ('read', 'decoding'))
        return InputUse(read / 1e6 / self.seconds, min(1., decoding / self.seconds), self._ready / self._reports,
                        self._meter.batch, min(1., own), min(1., max(own, (now.busy - before.busy) / cores)))

    @property
    def sets(self) -> Dict[str, Tuple[float, float]]:
        """Returns {name of a set: (share of the samples, mean loss of a value, NaN without samples)}."""
        shares = {name[len(SHARE):]: value for name, value in self._sets.items() if name.startswith(SHARE)}
        total = sum(shares.values())
        return {name: (share / total, self._sets[LOSS + name] / share if share else float('nan'))
                for name, share in shares.items()}


class _Now(NamedTuple):
    """Holds the counts of the input, and the seconds of time, of cores that this process used, and that all used."""
    input: Count
    clock: float
    own: float
    busy: float


def _now(meter: Optional[InputMeter]) -> _Now:
    return _Now(meter.count() if meter else Count(0., 0., 0), time.monotonic(), time.process_time(), _busy_seconds())


def _busy_seconds() -> float:
    """Returns the seconds that all cores were busy; 0 where the system does not report them."""
    try:
        with open('/proc/stat') as file:
            user, nice, system, _, _, interrupts, soft, stolen = map(int, file.readline().split()[1:9])
    except (OSError, ValueError):
        return 0.
    return (user + nice + system + interrupts + soft + stolen) / os.sysconf('SC_CLK_TCK')


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
