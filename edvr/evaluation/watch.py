"""Follows a training: evaluates each new complete checkpoint, and keeps the best one.

It writes into `eval/` in the training directory DIR: TensorBoard events; results.json, the results so far, so that a
restart continues after them; `best/`, the checkpoint with the highest PSNR and its model.json, usable like any training
directory. (`DIR/best` belongs to the validation of the training itself.)
"""
import contextlib
import math
import os
import sys
import time
import typing

from data_tools.base import files
from data_tools.base.errors import UserError
from edvr import checkpoints
from edvr.config.restoration import EvaluateConfig, RestoreConfig
from edvr.evaluation import measure
from edvr.restore.restorer import Restorer
from edvr.sharing import workers
from edvr.tensorboard.event_writer import EventWriter


class Watch:
    """The state of following one training directory.

    Attributes:
      best_folder: where the best checkpoint is kept.
      results: list of dict with `step`, `checkpoint`, the overall numbers and `measured`, the digest of what they are
        of, or `error`; by rising step.
    """

    def __init__(self, directory: str) -> None:
        """Raises UserError if `directory` is not a directory, or its results or checkpoints cannot be read."""
        if not os.path.isdir(directory):
            raise UserError('--watch follows a training directory; %s is not a directory (it must exist)'
                            % (directory or "''"))
        checkpoints.check_path(directory)
        self.directory = directory
        self._eval = os.path.join(directory, 'eval')
        self.best_folder = os.path.join(self._eval, 'best')
        self._record = os.path.join(self._eval, 'results.json')
        files.make_dir(self._eval)
        self.results = files.read_json(self._record) if files.exists(self._record) else []
        self._measured = next((result['measured'] for result in reversed(self.results) if 'measured' in result), '')

    @property
    def best(self) -> typing.Optional[typing.Dict[str, typing.Any]]:
        """Returns the result with the highest PSNR of what is measured now, or None.

        Earlier versions recorded infinite ones, and did not record what was measured.
        """
        valid = [result for result in self.results if math.isfinite(result.get('edvr_psnr', math.inf))
                 and result.get('measured', self._measured) == self._measured]
        return max(valid, key=lambda result: result['edvr_psnr']) if valid else None

    @property
    def last_step(self) -> int:
        """Returns the step of the newest checkpoint evaluated; -1 before the first."""
        return max([result['step'] for result in self.results], default=-1)

    def measures(self, digest: str) -> None:
        """Notes what is measured from now on, by its `measure.digest`; says so if the best result is of other data."""
        before, self._measured = self.best, digest
        if before and self.best is None:
            print('earlier results are of other clips, frames or LQ: the best checkpoint is chosen anew', flush=True)

    def waiting(self) -> typing.List[str]:
        """Returns the prefixes of complete checkpoints that are newer than all evaluated ones, by rising step."""
        if not os.path.exists(os.path.join(self.directory, checkpoints.MODEL_FILE)):
            return []
        return [prefix for prefix in checkpoints.prefixes(self.directory)
                if checkpoints.step_of(prefix) > self.last_step and checkpoints.is_complete(prefix)]

    def add(self, prefix: str, numbers: measure.Numbers) -> None:
        """Records the overall numbers of a checkpoint, also in TensorBoard; keeps the checkpoint if it is the best."""
        step, before = checkpoints.step_of(prefix), self.best
        if before is None or numbers['edvr_psnr'] > before['edvr_psnr']:
            checkpoints.keep_only(prefix, self.best_folder)
        with EventWriter(self._eval) as events:
            events.scalars(step, numbers)
        self._note(dict(numbers, step=step, checkpoint=os.path.basename(prefix), measured=self._measured))

    def refuse(self, prefix: str, error: UserError) -> None:
        """Records a checkpoint that cannot be evaluated, so that it is not tried again."""
        self._note({'step': checkpoints.step_of(prefix), 'checkpoint': os.path.basename(prefix), 'error': str(error)})

    def _note(self, result):
        self.results.append(result)
        files.write_json(self._record, self.results)


def follow(restore_config: RestoreConfig, config: EvaluateConfig,
           load_clips: typing.Callable[[EvaluateConfig, int], list],
           evaluate: typing.Callable[[Restorer, list], typing.List[measure.ClipResult]]) -> Watch:
    """Evaluates each new checkpoint of a training directory until it is stopped.

    Args:
      restore_config: `checkpoint` is the training directory.
      config: the clips, and when to look and to end.
      load_clips: load_clips(config, scale) -> clips.
      evaluate: evaluate(restorer, clips) -> results.
    Returns:
      the state at the end: when a checkpoint of config.watch_until_step or later is evaluated, or on
      KeyboardInterrupt.
    """
    watch, clips, reported = Watch(restore_config.checkpoint), None, False
    with contextlib.suppress(KeyboardInterrupt):
        while not config.watch_until_step or watch.last_step < config.watch_until_step:
            waiting = watch.waiting()
            if not waiting:
                if not reported:
                    print('waiting for a checkpoint newer than step %d in %s' % (watch.last_step, watch.directory),
                          flush=True)
                reported = True
                time.sleep(config.watch_interval_s)
                continue
            reported = False
            clips = _evaluate_one(watch, waiting[0], restore_config, config, load_clips, evaluate, clips)
    best = watch.best
    print('%d checkpoints evaluated%s' % (len(watch.results), '' if best is None else
                                          '; best: step %d with PSNR = %.4f, kept in %s'
                                          % (best['step'], best['edvr_psnr'], watch.best_folder)))
    return watch


def _evaluate_one(watch, prefix, restore_config, config, load_clips, evaluate, clips):
    print('\n%s' % prefix, flush=True)
    try:
        with Restorer(restore_config, checkpoint=prefix) as restorer:
            if clips is None:
                workers.print_placement(restore_config, restorer)
            if not clips:
                clips = load_clips(config, restorer.config.upscale)
                watch.measures(measure.digest(clips, config))
            results = evaluate(restorer, clips)
    except UserError as error:
        if clips is None:   # the data is at fault, not this checkpoint
            raise
        if not os.path.exists(prefix + '.index'):
            print('%s: removed by the training before it could be evaluated' % prefix, file=sys.stderr, flush=True)
        else:
            print('error: %s' % error, file=sys.stderr, flush=True)
        watch.refuse(prefix, error)
        return clips
    watch.add(prefix, measure.comparable(results))
    return clips
