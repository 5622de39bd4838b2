"""Reads what a training run saw at a step, and refuses what cannot be rebuilt."""
import os
import typing

from data_tools.base import schema
from data_tools.base.errors import UserError
from edvr import checkpoints
from edvr.config import DataConfig, ModelConfig, RuntimeConfig, TrainingConfig
from edvr.config.training import RecipeConfig
from edvr.data.input_pipeline import open_sets
from edvr.data.mixture import Mixture
from edvr.tensorboard import scalar_file
from edvr.tensorboard.run_record import SCALARS
from edvr.training.rundir import configuration
from edvr.training.rundir.run_state import RunState


class PastRun(typing.NamedTuple):
    """Describes a run at one of its steps.

    Attributes:
      directory: of the run.
      step: the step; its update is the one that makes this number of updates.
      model, data, training: its options; the seed of `data` is that of the step.
      mixture: its sets.
      ranks: processes of the job.
      replicas: copies of the network in the job.
      recorded: {curve: value} that the run recorded at the step; empty if it recorded none there.
      changes_since: step after which replaced options are known; an earlier version did not record them.
    """
    directory: str
    step: int
    model: ModelConfig
    data: DataConfig
    training: TrainingConfig
    mixture: Mixture
    ranks: int
    replicas: int
    recorded: typing.Dict[str, float]
    changes_since: int


def read(directory: str, step: int, data_dir: str = '') -> PastRun:
    """Reads the run of a directory at a step.

    Args:
      step: number of the step, from 1.
      data_dir: where its sets are now; '' for where they were.
    Raises:
      UserError: it is no run, it was not deterministic, it has not made this step, its options or its data have changed
        since.
    """
    path = os.path.join(directory, configuration.CONFIG_FILE)
    if not os.path.exists(path):
        raise UserError('%s: no training run in this directory (there is no %s); give --model_dir=RUN of edvr.train'
                        % (directory, configuration.CONFIG_FILE))
    config = schema.read(path, configuration.CONFIG, 'restore it from a copy')
    model, data = ModelConfig.from_dict(config['model']), DataConfig.from_dict(config['data'])
    if not data.deterministic or data.input == 'null':
        raise UserError('%s was trained %s: its batches cannot be rebuilt; train with --deterministic to replay steps'
                        % (directory, 'with --input=null' if data.input == 'null' else 'without --deterministic'))
    points = [point for _, point in scalar_file.points(os.path.join(directory, SCALARS)) if point]
    prefixes = checkpoints.prefixes(directory)
    last = max([point['step'] for point in points] + [checkpoints.step_of(prefix) for prefix in prefixes], default=0)
    if step > last:
        raise UserError('step is %d, but %s has made %d steps: give --step=%d or less' % (step, directory, last, last))
    _require_same_options(directory, config, step)
    if data_dir:
        data = data.replace(data_dir=data_dir)
    mixture = open_sets(data, model.num_frames, model.upscale)
    _require_same_data(directory, config, mixture)
    state = RunState(directory, writes=False)
    ranks = config['job']['ranks']
    recorded = {name: value for point in points if point['step'] == step for name, value in point.items()
                if '/' in name and value is not None}
    data = data.replace(seed=state.data_seed(data.seed, step))
    return PastRun(directory, step, model, data, TrainingConfig.from_dict(config['training']), mixture, ranks,
                   config['job'].get('replicas', ranks), recorded, configuration.changes_since(config, last))


def _require_same_options(directory, config, step):
    """Raises UserError if options that determine the batch or its loss were others at the step."""
    kept = set(TrainingConfig.__dataclass_fields__) | set(RuntimeConfig.__dataclass_fields__)
    kept -= set(RecipeConfig.__dataclass_fields__)
    for change in config.get('changes', []):
        changed = [text for text in change['changed'] if text.split()[0] not in kept]
        if changed and step <= change['step']:
            raise UserError('step %d of %s was trained with other options, replaced after step %d: %s; give a later '
                            'step' % (step, directory, change['step'], '; '.join(changed)))


def _require_same_data(directory, config, mixture):
    """Raises UserError if the sets are not those of the run; a run of an earlier version may have no checksum."""
    trained = [session['data'] for session in config.get('sessions', []) if session.get('data')][-1:]
    now = mixture.checksum()
    if trained and trained != [now]:
        raise UserError('the data of %s has changed since: the manifest of %s has the checksum %s, the run had %s; '
                        'give the data of the run with --data_dir' % (
                            directory, ', '.join(part.folder for part in mixture.parts), now[:12], trained[0][:12]))


def checkpoint_before(run: PastRun, chosen: str = '') -> str:
    """Returns the prefix of the newest complete checkpoint from before the update of the step.

    Args:
      chosen: a checkpoint to use instead, '' for none.
    Raises:
      UserError: there is none, or the chosen one is not complete.
    """
    if chosen:
        return checkpoints.chosen(chosen)
    found = checkpoints.prefixes(run.directory)
    before = [prefix for prefix in found if checkpoints.step_of(prefix) < run.step]
    for prefix in reversed(before):
        if checkpoints.is_complete(prefix):
            return prefix
    raise UserError('%s has no complete checkpoint from before step %d%s: name one with --checkpoint, such as %s; '
                    '--keep_every_hours of edvr.train keeps some' % (
                        run.directory, run.step,
                        '; its first is of step %d' % checkpoints.step_of(found[0]) if found else '',
                        found[0] if found else os.path.join(run.directory, 'best')))
