"""The scalars of a run as JSON lines, for programs that do not read TensorBoard's events.

A line is a point: {"step": 200, "time": 1790000000.123, "train/loss": 9476.2, ...}; `time` is in seconds since 1970,
the names are those of `curves`. A number that is not finite is null. A line is written at once, so only the last one
can be cut off by a kill; the next session removes it.
"""
import json
import math
import os
import sys
import time
from typing import Any, Dict, Iterator, Mapping, Optional, Tuple

from data_tools.base import files


class ScalarFile:
    """Appends points to the file of a run. Points after the step at which a session begins are removed.

    Attributes:
      last: {name: its last value before this session, also of points that are removed}.
    """

    def __init__(self, path: str, step: int) -> None:
        """Opens the file.

        Args:
          step: updates done when the session begins.
        Raises:
          UserError: the file cannot be read or written.
        """
        self._path = path
        self.last: Dict[str, Any] = {}
        with files.explained(path):
            self._cut(step)
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Writes a point: {name: value}."""
        numbers = {name: float(value) if math.isfinite(value) else None for name, value in sorted(values.items())}
        line = json.dumps(dict(step=step, time=round(time.time(), 3), **numbers)).encode() + b'\n'
        with files.explained(self._path):
            while line:   # a full disk takes a part before it refuses
                line = line[os.write(self._file, line):]

    def close(self) -> None:
        """Closes the file."""
        os.close(self._file)

    def _cut(self, step: int) -> None:
        if not os.path.exists(self._path):
            return
        whole, damaged = True, 0
        for line, point in points(self._path):
            keeps = point is not None and point['step'] <= step
            whole = whole and keeps
            damaged += point is None and line.endswith(b'\n')
            self.last.update(point or {})
        if damaged:
            print('warning: %s: %d lines are not points of a run; they are removed' % (self._path, damaged),
                  file=sys.stderr, flush=True)
        if whole:
            return
        with files.atomic_path(self._path) as partial, open(partial, 'wb') as file:
            file.writelines(line for line, point in points(self._path) if point is not None and point['step'] <= step)


def points(path: str) -> Iterator[Tuple[bytes, Optional[Dict[str, Any]]]]:
    """Yields each line of the file of a run with its point, None if it is no complete point; nothing without a file."""
    if os.path.exists(path):
        with open(path, 'rb') as file:
            for line in file:
                yield line, _point(line)


def _point(line: bytes) -> Optional[Dict[str, Any]]:
    if not line.endswith(b'\n'):
        return None
    try:
        point = json.loads(line.decode())
    except (ValueError, RecursionError):
        return None
    return point if isinstance(point, dict) and isinstance(point.get('step'), int) else None
