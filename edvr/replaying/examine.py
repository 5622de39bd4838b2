"""Computes loss, offsets and gradients of the samples of a step with the weights of a checkpoint."""
import typing

import numpy as np
import tensorflow.compat.v1 as tf

from edvr import checkpoints
from edvr.devices.base import Device
from edvr.network import networks
from edvr.replaying.batch import Sample
from edvr.replaying.past_run import PastRun
from edvr.training.model_fn import LEVELS, judge


class SampleNumbers(typing.NamedTuple):
    """Holds what a network does with a sample.

    Attributes:
      loss: its part of the loss of the whole batch.
      loss_per_pixel: mean over its values.
      psnr: dB.
      offsets: {level: mean |offset|, pixels of the level}.
      gradient_norm: of its part of the gradient.
      sr: float32 [s*p, s*p, 3].
    """
    loss: float
    loss_per_pixel: float
    psnr: float
    offsets: typing.Dict[str, float]
    gradient_norm: float
    sr: np.ndarray


class Numbers(typing.NamedTuple):
    """Holds what a network does with the batch of a step.

    Attributes:
      samples: of each sample.
      loss: of the whole batch, as training shows it.
      gradient_norm: of the whole batch, over all variables.
      layers: {layer: norm of its gradient}, in the order of the network.
    """
    samples: typing.List[SampleNumbers]
    loss: float
    gradient_norm: float
    layers: typing.Dict[str, float]


def examine(run: PastRun, samples: typing.Sequence[Sample], prefix: str, device: Device) -> Numbers:
    """Computes forwards and backwards, one sample at a time.

    Args:
      prefix: of the checkpoint; its weights are those that train, not their averages.
    Raises:
      UserError: the checkpoint is of another network.
    """
    share = 1. if run.training.loss_reduction == 'sum' else 1. / len(samples)
    with tf.Graph().as_default():
        lq, gt = (tf.placeholder(tf.uint8, (1,) + image.shape) for image in (samples[0].lq, samples[0].gt))
        ops = device.ops()
        if run.training.offset_fidelity_weight:
            ops.offset_bound = run.training.offset_fidelity_bound
        outputs = networks.build(run.model).restore(ops, lq, run.training.recompute_alignment)
        values = judge(outputs, gt, run.training)
        variables = tf.trainable_variables()
        gradients = tf.gradients(values[0], variables)
        levels = [level for level in LEVELS if level in outputs.offset_means]
        totals = [np.zeros(variable.shape.as_list()) for variable in variables]
        found = []
        with tf.Session(config=device.session_config()) as session:
            tf.train.Saver(checkpoints.restore_map(prefix, variables, use_ema=False)).restore(session, prefix)
            for sample in samples:
                (loss, psnr, *offsets), parts, sr = session.run(
                    [values, gradients, outputs.sr], {lq: [sample.lq], gt: [sample.gt]})
                parts = [share * part.astype(np.float64) for part in parts]
                for total, part in zip(totals, parts):
                    total += part
                found.append(SampleNumbers(
                    share * float(loss), float(loss) / _values(run, sample), float(psnr),
                    dict(zip(levels, map(float, offsets))), _norm(parts), sr[0]))
    layers: typing.Dict[str, typing.List[np.ndarray]] = {}
    for variable, total in zip(variables, totals):
        layers.setdefault(checkpoints.name_of(variable).rpartition('/')[0], []).append(total)
    return Numbers(found, sum(numbers.loss for numbers in found), _norm(totals),
                   {layer: _norm(arrays) for layer, arrays in layers.items()})


def _values(run, sample):
    return sample.gt.size if run.training.loss_reduction == 'sum' else 1


def _norm(arrays):
    return float(np.sqrt(sum(np.sum(np.square(array)) for array in arrays)))
