"""The directory of a run: its lock, and the state beside the checkpoints.

`run_state.json` holds the rollbacks, the checkpoints kept permanently, and the best one.
"""
import math
import os
from typing import Any, ContextManager, Dict, List, Optional

from data_tools.base import files, schema
from data_tools.base import lock as locks
from data_tools.base.errors import UserError

STATE_FILE, LOCK_FILE = 'run_state.json', 'lock'


class _AnyNumber(schema.Number):
    """Accepts any number: earlier versions wrote Infinity for the PSNR of frames that are restored exactly."""

    def accepts(self, value: Any) -> bool:
        return super().accepts(value) or isinstance(value, float)


STATE = schema.Record(_optional={
    'rollbacks': schema.ListOf(schema.Record({'reason': schema.Text()}, to=schema.Integer(0))),
    'best': schema.Nullable(schema.Record({'measured': schema.Text()}, step=schema.Integer(0), psnr=_AnyNumber())),
    'kept': schema.MapOf(schema.Number()), 'kept_since': schema.Nullable(schema.Number())})


def lock(directory: str) -> ContextManager[Any]:
    """Returns a context manager that holds the directory for this process by a lock file.

    Raises:
      UserError: another process holds it, or the directory is remote.
    """
    path = os.path.join(directory, LOCK_FILE)
    if files.is_remote(path):
        raise UserError('--model_dir=%s: a training directory must be on a file system with locks' % directory)
    return locks.hold(path, directory, '--model_dir')


class RunState:
    """The state of a run beside its checkpoints. Only rank 0 writes it.

    Attributes:
      rollbacks: list of dict, one for each rollback of the guard.
      best: dict(step, psnr, measured), or None; `measured` is the digest of the clips that the PSNR is of.
    """

    def __init__(self, directory: str, writes: bool = True) -> None:
        self._path, self._writes = os.path.join(directory, STATE_FILE), writes
        values = schema.read(self._path, STATE, 'restore it from a copy, or remove it: rollbacks, the best checkpoint '
                             'and those kept permanently are then forgotten') if os.path.exists(self._path) else {}
        self.rollbacks: List[Dict[str, Any]] = values.get('rollbacks', [])
        self.best = values.get('best')
        if self.best and not math.isfinite(self.best['psnr']):
            self.best = None
        self._kept = values.get('kept', {})   # step -> time, of checkpoints kept permanently
        self._kept_since = values.get('kept_since')

    def add_rollback(self, **facts: Any) -> None:
        """Records a rollback of the guard."""
        self.rollbacks.append(facts)
        self._save()

    def data_seed(self, seed: int, step: Optional[int] = None) -> int:
        """Returns the seed of the data, which differs after each rollback: the same batches would cause the same fault.

        Args:
          seed: of the run.
          step: of an update that was made; None for those to come.
        """
        done = [number for number, rollback in enumerate(self.rollbacks, 1) if step is None or rollback['to'] < step]
        return seed + 7919 * max(done, default=0)

    def begin_session(self, step: int) -> None:
        """Records that a session begins after `step` updates, maybe before the step to which a rollback went."""
        if any(rollback['to'] > step for rollback in self.rollbacks):
            self.rollbacks = [dict(rollback, to=min(rollback['to'], step)) for rollback in self.rollbacks]
            self._save()

    def forget_rollbacks(self) -> None:
        """Forgets all rollbacks."""
        self.rollbacks = []
        self._save()

    def set_best(self, step: int, psnr: float, measured: str) -> None:
        """Records the best checkpoint, its PSNR in dB, and the digest of what that is of."""
        self.best = {'step': step, 'psnr': psnr, 'measured': measured}
        self._save()

    def is_kept(self, step: int) -> bool:
        """Returns whether the checkpoint of `step` is kept permanently."""
        return str(step) in self._kept

    def due_to_keep(self, written: float, interval: float) -> bool:
        """Returns whether a checkpoint is `interval` seconds younger than the last one kept, or the first examined."""
        if self._kept_since is None:
            self._kept_since = written
            self._save()
        return written - self._kept_since >= interval

    def keep(self, step: int, written: float) -> None:
        """Records that the checkpoint of `step`, of the time `written`, is kept permanently."""
        self._kept[str(step)] = self._kept_since = written
        self._save()

    def _save(self) -> None:
        if self._writes:
            files.write_json(self._path, {'rollbacks': self.rollbacks, 'best': self.best, 'kept': self._kept,
                                          'kept_since': self._kept_since})
