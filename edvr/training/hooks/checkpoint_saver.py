"""Checkpoints of a run: written completely or not at all, a number of them kept, and the best one by validation."""
import math
import os
import shutil
import sys
import time
from typing import Callable, Optional, Sequence

import tensorflow.compat.v1 as tf

from data_tools.base import files
from data_tools.base.errors import UserError
from edvr import checkpoints
from edvr.config import TrainingConfig
from edvr.training.hooks.step_hook import Callback, Control, Report, reached
from edvr.training.rundir.run_state import RunState

BEST = 'best'


class CheckpointStore:
    """The checkpoints of a run's directory. One process at a time writes there (see run_state.lock)."""

    def __init__(self, directory: str, keep_last: int, keep_every_hours: float, state: RunState) -> None:
        """Opens the directory.

        Args:
          keep_last: checkpoints to keep.
          keep_every_hours: hours between checkpoints that are kept permanently; 0 for none.
          state: records those.
        """
        self._directory, self._keep_last, self._hours = directory, keep_last, keep_every_hours
        self._state = state
        self._measured = ''   # digest of what validation measures
        self._names: Optional[Sequence[str]] = None   # of the tensors, known after the first checkpoint

    def save(self, session: 'tf.Session', saver: 'tf.train.Saver', step: int) -> str:
        """Writes a checkpoint, in a separate folder, checks it, and renames it into place, index last.

        Returns:
          its prefix.
        Raises:
          UserError: disk full, no permission, ...; earlier checkpoints stay unchanged.
        """
        folder = os.path.join(self._directory, 'checkpoint' + files.PARTIAL)
        prefix = os.path.join(self._directory, '%s-%d' % (checkpoints.BASENAME, step))
        try:
            with files.explained(prefix):
                os.makedirs(folder, exist_ok=True)
                partial = saver.save(session, os.path.join(folder, checkpoints.BASENAME), step, write_meta_graph=False,
                                     write_state=False)
            problem = checkpoints.defect(partial, self._names)
            if problem:
                raise UserError('cannot write checkpoint %s: %s; is the disk full?' % (prefix, problem))
            with files.explained(prefix):
                _move(partial, prefix)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        self._names = self._names or checkpoints.names_in(prefix)
        self._retain(prefix)
        checkpoints.write_state(self._directory)
        return prefix

    def _retain(self, newest: str) -> None:
        """Removes checkpoints beyond the last ones, except one every so many hours."""
        others = [prefix for prefix in checkpoints.prefixes(self._directory) if prefix != newest]
        for prefix in others[:max(0, len(others) + 1 - self._keep_last)]:
            if self._state.is_kept(checkpoints.step_of(prefix)):
                continue
            if self._hours and self._state.due_to_keep(os.path.getmtime(prefix + '.index'), self._hours * 3600):
                self._state.keep(checkpoints.step_of(prefix), os.path.getmtime(prefix + '.index'))
            else:
                checkpoints.remove(prefix)

    def measures(self, digest: str) -> None:
        """Notes what validation measures from now on; forgets which checkpoint is the best if that is of other data.

        Args:
          digest: `measure.digest` of it. A best checkpoint of an earlier version has none and counts as of the same.
        """
        self._measured, best = digest, self._state.best
        if best and best.setdefault('measured', digest) != digest:
            print('validation: the best checkpoint so far (step %d, %.4f dB) was measured on other clips, frames or '
                  'LQ: the best one is chosen anew' % (best['step'], best['psnr']), flush=True)
            self._state.best = None

    def keep_best(self, prefix: str, psnr: float) -> bool:
        """Copies the checkpoint to `best/` if its validation PSNR (dB) is the highest so far; returns whether so.

        A PSNR that is not finite is never the highest.
        """
        if not math.isfinite(psnr) or (self._state.best and self._state.best['psnr'] >= psnr):
            return False
        checkpoints.keep_only(prefix, os.path.join(self._directory, BEST))
        self._state.set_best(checkpoints.step_of(prefix), psnr, self._measured)
        return True

    @property
    def best_psnr(self) -> float:
        """Returns the highest validation PSNR so far, dB; -inf before the first validation."""
        return self._state.best['psnr'] if self._state.best else -math.inf


def _move(source: str, target: str) -> None:
    for path in checkpoints.files_of(source):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    for path in checkpoints.files_of(source):
        os.replace(path, target + path[len(source):])


class Checkpoints(Callback):
    """Saves at the start, every `save_every` steps while updates are good, and at the end; calls listeners after."""

    def __init__(self, config: TrainingConfig, control: Control, store: CheckpointStore,
                 listeners: Sequence[Callable[[str, int, int], None]] = ()) -> None:
        """Prepares the saving.

        Args:
          control: nothing is saved when the run rolls back.
          listeners: functions(prefix, step, previous) called after each checkpoint but that of the start.
        """
        self._config, self._control, self._store, self._listeners = config, control, store, listeners

    def build(self) -> None:
        self._saver = tf.train.Saver(max_to_keep=0)

    def start(self, session: 'tf.Session', step: int) -> None:
        self._saved, self._streak = step, 0.
        if not os.path.exists(os.path.join(self._config.model_dir, '%s-%d.index' % (checkpoints.BASENAME, step))):
            self._store.save(session, self._saver, step)

    def after_run(self, report: Report) -> None:
        self._streak = report.values['streak']
        # a rollback must not return to a state between bad steps; the next good step is saved instead
        if not self._streak and reached(report._replace(previous=self._saved), self._config.save_every):
            self._save(report.session, report.step)

    def finish(self, session: 'tf.Session', step: int) -> None:
        if self._control.rollback or step == self._saved:
            return
        if self._streak and self._control.signal:
            print('not saved: updates are being skipped; the run will continue from step %d' % self._saved,
                  file=sys.stderr, flush=True)
            return
        self._save(session, step)

    def _save(self, session: 'tf.Session', step: int) -> None:
        began = time.time()
        prefix = self._store.save(session, self._saver, step)
        print('saved %s in %.1f s' % (prefix, time.time() - began), flush=True)
        previous, self._saved = self._saved, step
        for listener in self._listeners:
            listener(prefix, step, previous)
