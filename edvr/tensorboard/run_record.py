"""The records of a training run: TensorBoard events, and the same scalars as JSON lines."""
import glob
import os
from typing import Any, Dict, TypeVar

import numpy as np

from edvr.tensorboard import curves
from edvr.tensorboard.hparams import HParam
from edvr.tensorboard.run_events import RunEvents
from edvr.tensorboard.scalar_file import ScalarFile

Self = TypeVar('Self', bound='RunRecord')

EVENTS, BICUBIC_EVENTS, SCALARS = 'training', 'bicubic', 'scalars.jsonl'


class RunRecord:
    """Writes the records of one session; what an earlier session wrote after its first step is hidden, or removed.

    TensorBoard calls a run by its folder, so that events are in a folder of the directory. A run that version 1.0 began
    has its events in the directory itself. It keeps that place, and the names of its curves, so that they go on.

    Attributes:
      last: {name of a curve: its last value before this session}.
    """

    def __init__(self, directory: str, step: int) -> None:
        """Begins a session.

        Args:
          directory: of the run.
          step: updates done when the session begins.
        """
        self._directory, self._step = directory, step
        former = bool(glob.glob(os.path.join(glob.escape(directory), 'events.out.tfevents.*')))
        self._events = RunEvents(directory if former else os.path.join(directory, EVENTS), step, former)
        self._bicubic: Any = None   # a run of its own, so that both curves are in one chart
        self._file = ScalarFile(os.path.join(directory, SCALARS), step)
        self.last = self._file.last
        self._events.layout(step)

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        self._file.close()
        for events in (self._events, self._bicubic):
            if events:
                events.close()

    def scalars(self, step: int, values: Dict[str, float]) -> None:
        """Writes a point of each curve: {name of `curves`: value}."""
        self._file.add(step, values)
        self._events.scalars(step, {name: value for name, value in values.items() if name != curves.BICUBIC})
        if curves.BICUBIC in values:
            self._bicubic = self._bicubic or RunEvents(os.path.join(self._directory, BICUBIC_EVENTS), self._step)
            self._bicubic.scalars(step, {'validation/psnr': values[curves.BICUBIC]})

    def image(self, step: int, tag: str, image: np.ndarray) -> None:
        """Writes a picture, uint8 [H, W, 3]."""
        self._events.image(step, tag, image)

    def text(self, step: int, tag: str, text: str) -> None:
        """Writes a text in Markdown."""
        self._events.text(step, tag, text)

    def hparams(self, step: int, values: Dict[str, HParam], name: str) -> None:
        """Writes the row of this run in TensorBoard's table of hyperparameters, see `RunEvents.hparams`."""
        self._events.hparams(step, values, name)

    def ended(self, step: int) -> None:
        """Records in that table that the run has made its last step."""
        self._events.ended(step)
