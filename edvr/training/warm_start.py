"""Starting a run from the weights of another one."""
import sys
import typing

import tensorflow.compat.v1 as tf

from data_tools.base.errors import UserError
from edvr import checkpoints
from edvr.training.optimizer import FUSION


def missing_variables(path: str, variables: typing.Sequence[tf.Variable]) -> typing.List[str]:
    """Returns the names of the variables that the checkpoint lacks, sorted.

    Raises:
      UserError: a variable outside the fusion is missing; the checkpoint is then of another network.
    """
    prefix = checkpoints.chosen(path)
    names = checkpoints.names_in(prefix)
    missing = sorted(name for name in map(checkpoints.name_of, variables) if name not in names)
    wrong = [name for name in missing if not name.startswith(FUSION)]
    if wrong:
        raise UserError('--init_from=%s: checkpoint %s lacks %d variables outside the fusion, such as %s; it is of '
                        'another network' % (path, prefix, len(wrong), wrong[0]))
    return missing


def initialise_from(path: str, variables: typing.Sequence[tf.Variable], use_ema: bool = True) -> None:
    """Initialises `variables` with the values of a checkpoint (in the graph being built).

    Args:
      path: directory or prefix.
      variables: those of the fusion that the checkpoint lacks keep their own initialisation.
      use_ema: whether to take moving averages where the checkpoint has them.
    Raises:
      UserError: as `missing_variables`, or naming a variable of another shape.
    """
    prefix, missing = checkpoints.chosen(path), missing_variables(path, variables)
    present = [variable for variable in variables if checkpoints.name_of(variable) not in missing]
    tf.train.init_from_checkpoint(prefix, checkpoints.restore_map(prefix, present, use_ema))
    print('initial weights: %s; %s' % (prefix, 'initialised randomly: ' + ', '.join(missing) if missing else
                                        'it has all of them'), file=sys.stderr, flush=True)
