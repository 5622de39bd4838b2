"""Names of a network's variables in checkpoints, and the choice between a variable and its moving average."""
from typing import Dict, Iterable

import tensorflow.compat.v1 as tf

from data_tools.base.errors import UserError
from edvr.checkpoints.integrity import reader_of
from edvr.checkpoints.network_config import MODEL_FILE

EMA_SUFFIX = '/ExponentialMovingAverage'


def name_of(variable: tf.Variable) -> str:
    """Returns a variable's name in checkpoints; the same in all replicas of a distribution strategy."""
    return variable.name.split(':')[0]


def restore_map(prefix: str, variables: Iterable[tf.Variable], use_ema: bool = True) -> Dict[str, tf.Variable]:
    """Returns the names under which variables are read from a checkpoint.

    Args:
      prefix: of the checkpoint.
      variables: of the network.
      use_ema: read the moving average of a variable if the checkpoint has it.
    Returns:
      {name in the checkpoint: variable}, for tf.train.Saver or tf.train.init_from_checkpoint.
    Raises:
      UserError: the checkpoint lacks a variable or has it in another shape; the text names the first such.
    """
    with reader_of(prefix) as reader:
        shapes = reader.get_variable_to_shape_map()
    result = {}
    for variable in variables:
        name = name_of(variable)
        if name not in shapes:
            raise UserError('checkpoint %s has no variable %s; its network is another one (compare %s)'
                            % (prefix, name, MODEL_FILE))
        if use_ema and name + EMA_SUFFIX in shapes:
            name += EMA_SUFFIX
        if list(shapes[name]) != variable.shape.as_list():
            raise UserError('checkpoint %s has %s with shape %s, the network wants %s; its network is another one '
                            '(compare %s)' % (prefix, name, list(shapes[name]), variable.shape.as_list(), MODEL_FILE))
        result[name] = variable
    return result
