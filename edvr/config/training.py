"""Options of training: recipe, optimizer, guard, checkpoints, log and curves."""
import dataclasses
from typing import Iterator, Tuple

from data_tools.base import paths
from data_tools.base.config import Config, option
from edvr.config.losses import EPSILON, LOSSES, REDUCTIONS


@dataclasses.dataclass(frozen=True)
class RecipeConfig(Config):
    """The loss, the number of steps and the initial weights."""

    TITLE = 'recipe'

    steps: int = option(600000, 'updates in total, counted over all resumes of the run', low=1, common=True,
                        may_change=True, counts_steps=True, compared=True)
    loss: str = option('charbonnier', 'distance between restored and true frame: %s' % ', '.join(
        '%s (%s)' % (name, loss.help) for name, loss in LOSSES.items()), choices=tuple(LOSSES), compared=True)
    loss_reduction: str = option('sum', 'over pixels, channels and the whole batch: sum (the published recipe; the '
                                 'loss looks huge, see the PSNR beside it) or mean', choices=tuple(REDUCTIONS))
    charbonnier_epsilon: float = option(EPSILON, 'added under the root of charbonnier; 1e-6 is a usual one for losses '
                                        'that are smooth near 0', low=0.)
    offset_fidelity_weight: float = option(0., 'weight of the offset-fidelity loss (arXiv 2009.07265), beside the mean '
                                           'loss of a value: the mean excess of |offset| over '
                                           '--offset_fidelity_bound, summed over the DCN levels. It keeps offsets '
                                           'from growing without bound; 0 is off', low=0.)
    offset_fidelity_bound: float = option(10., 'pixels of their level that offsets may reach without this loss', low=0.)
    init_from: str = option('', 'training directory or checkpoint prefix to take the weights from when the run '
                            'starts (not when it resumes); only variables of the fusion may be missing there, for '
                            'training in stages', common=True, path='checkpoint')
    init_from_ema: bool = option(True, 'take the averaged weights of --init_from where it has them')
    tsa_only_steps: int = option(0, 'number of the first update that trains all variables. Earlier updates train only '
                                 'the fusion (TSA). Stage 2 of the published recipe has 50000, with --init_from of '
                                 'stage 1. 0 trains all variables from the start', low=0)
    recompute_alignment: bool = option(False, 'compute the alignment again in the backward pass instead of keeping '
                                       'it: less memory, more time', may_change=True)


@dataclasses.dataclass(frozen=True)
class OptimizerConfig(Config):
    """Adam and its learning rate."""

    TITLE = 'optimizer'

    learning_rate: float = option(4e-4, 'the highest learning rate of the schedule', low=0., common=True, compared=True)
    beta1: float = option(.9, 'Adam: decay of the mean gradient', low=0., high=.9999)
    beta2: float = option(.99, 'Adam: decay of the mean squared gradient', low=0., high=.999999)
    adam_epsilon: float = option(1e-8, 'Adam: added to the root of the mean squared gradient, after its '
                                 'bias correction', low=1e-30)
    clip_norm: float = option(0., 'scale the gradients down to this global norm where it is larger; 0 is off. With '
                              '--loss_reduction=sum norms are thousands: look at watch_update/gradient_norm first',
                              low=0.)
    offset_rate: float = option(1., 'factor on the learning rate of the convolutions that compute the DCN offsets; '
                                '0.1 to 0.5 helps when offsets grow without bound', low=0., compared=True)
    warmup_steps: int = option(0, 'updates at the start over which the learning rate rises linearly', low=0)
    cosine_periods: Tuple[int, ...] = option((), 'length in updates of each cosine from --learning_rate down to '
                                             '--learning_rate_min; empty is one over all --steps; after the last the '
                                             'rate stays at its minimum', low=1)
    restart_weights: Tuple[float, ...] = option((), 'factor on the learning rate in each of --cosine_periods; empty '
                                                'is 1 for all', low=0.)
    learning_rate_min: float = option(1e-7, 'the lowest learning rate of the cosines', low=0.)
    ema_decay: float = option(0., 'decay of a moving average of the weights, such as 0.999; evaluation and export then '
                              'use the average. 0 is off. The decay rises to this value: min(decay, (1 + step) / '
                              '(10 + step))',
                              low=0., high=.999999, common=True, compared=True)


@dataclasses.dataclass(frozen=True)
class GuardConfig(Config):
    """The limits for updates, and the rollbacks after skipped updates."""

    TITLE = 'guard'

    offset_limit: float = option(100., 'pixels of their level (a pixel of l2 is 2 pixels of l1, of l3 4): an '
                                 'update is skipped when the mean |offset| of a DCN level exceeds this, or when '
                                 'loss or gradients contain NaN or Inf; 0: no limit', low=0.)
    bad_steps: int = option(20, 'skipped updates in a row after which the run returns to its last checkpoint with a '
                            'lower --offset_rate', low=1)
    rollback_factor: float = option(.5, 'factor on the offset rate at each such rollback', low=0., high=1.)
    max_rollbacks: int = option(3, 'rollbacks after which the run stops instead', low=0)


@dataclasses.dataclass(frozen=True)
class SavingConfig(Config):
    """The directory and the checkpoints of the run."""

    TITLE = 'saving'

    model_dir: str = option(paths.RUN, 'directory of the run: checkpoints, configuration, TensorBoard events. A run '
                            'found there is continued', common=True, shown='run',
                            may_change=True, local=True, adapter=('model_dir',), path='output')
    save_every: int = option(5000, 'updates between checkpoints', low=1, common=True,
                             may_change=True, counts_steps=True,
                             adapter=('save_checkpoints_steps', 'save_checkpoints_secs'))
    keep_last: int = option(5, 'checkpoints kept', low=1, may_change=True, adapter=('keep_checkpoint_max',))
    keep_every_hours: float = option(0., 'hours between checkpoints that are kept permanently beside the last ones; 0 '
                                         'keeps none',
                                     low=0., may_change=True, adapter=('keep_checkpoint_every_n_hours',))
    override_config: bool = option(False, 'continue the run of --model_dir although its configuration differs, or '
                                   'although the guard stopped it', may_change=True)


@dataclasses.dataclass(frozen=True)
class WatchConfig(Config):
    """The log, the curves and the validation."""

    TITLE = 'watching'

    log_every: int = option(20, 'updates between log lines', low=1, common=True,
                            may_change=True, counts_steps=True, adapter=('log_step_count_steps',))
    summary_every: int = option(100, 'updates between points of the TensorBoard curves', low=1,
                                may_change=True, counts_steps=True, adapter=('save_summary_steps',))
    val_dir: str = option('auto', 'folder of clips with LQ and GT to validate on; auto uses the clips that '
                          'sets/val.json holds out, in the folder that contains the shards; empty means none',
                          common=True, may_change=True, local=True, path='input')
    make_lq: bool = option(False, 'make the LQ of --val_dir in the same way as the LQ of the training set, or by '
                           'bicubic if the training set has its own LQ; then --val_dir needs only GT (also videos). '
                           'With val_dir=auto this is the default if the LQ of the training set was made')
    val_clips: str = option('auto', 'clips of --val_dir to validate on: names separated by commas, REDS4, or '
                            '@FILE.json; empty means all, auto those that the data set holds out; if it holds '
                            'out none, all those of a --val_dir that is named',
                            may_change=True)
    eval_every: int = option(0, 'updates between validations: PSNR over the frames of --val_dir, beside bicubic; the '
                             'best checkpoint is kept in MODEL_DIR/best. A validation reads a checkpoint: it follows '
                             'the first one after each multiple; 0 is off', low=0, common=True,
                             may_change=True, counts_steps=True)
    eval_frames: int = option(10, 'frames of each validation clip to restore, from its start; 0 means all', low=0,
                              may_change=True)
    image_every: int = option(0, 'updates between pictures (input, restored, truth) of a validation frame in '
                              'TensorBoard, at checkpoints too; 0 is off', low=0, may_change=True, counts_steps=True)


@dataclasses.dataclass(frozen=True)
class TrainingConfig(WatchConfig, SavingConfig, GuardConfig, OptimizerConfig, RecipeConfig):
    """All options of training."""

    def problems(self) -> Iterator[str]:
        if self.restart_weights and len(self.restart_weights) != len(self.periods):
            yield ('restart_weights has %d elements, cosine_periods %d; there must be one for each period'
                   % (len(self.restart_weights), len(self.periods)))
        if self.learning_rate_min > self.learning_rate:
            yield ('learning_rate_min is %g, above learning_rate (%g)' % (self.learning_rate_min, self.learning_rate))
        if self.offset_fidelity_weight and self.recompute_alignment:
            yield ('offset_fidelity_weight is %g, but no gradient reaches the offsets with recompute_alignment; leave '
                   'out one of them' % self.offset_fidelity_weight)
        for name in ('eval_every', 'image_every'):
            if getattr(self, name) and not self.val_dir:
                yield '%s is %d, but there is no val_dir to take clips from' % (name, getattr(self, name))
        if self.val_dir not in ('', 'auto') and not (self.eval_every or self.image_every):
            yield ('val_dir is %s, but validation is off; give eval_every (--eval_every=5000), or leave out val_dir'
                   % self.val_dir)

    @property
    def periods(self) -> Tuple[int, ...]:
        """Returns the cosine periods in updates, with the default filled in."""
        return self.cosine_periods or (self.steps,)

    @property
    def weights(self) -> Tuple[float, ...]:
        """Returns one factor for each period, with the default filled in."""
        return self.restart_weights or (1.,) * len(self.periods)
