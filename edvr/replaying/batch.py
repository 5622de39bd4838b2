"""Rebuilds the batch of a step."""
import typing

import numpy as np
import tensorflow.compat.v1 as tf

from data_tools.base.errors import UserError
from data_tools.record import record_format
from edvr.data import damage, record_order
from edvr.data.input_pipeline import train_dataset
from edvr.replaying.past_run import PastRun


class Sample(typing.NamedTuple):
    """Describes one sample of a batch.

    Attributes:
      rank: the process that trained it.
      number: in the sequence of all samples.
      folder: of its set.
      shard: name of its shard.
      record: index in the shard.
      clip: its name.
      frame: the centre frame.
      lq: uint8 [T, p, p, 3].
      gt: uint8 [s*p, s*p, 3].
    """
    rank: int
    number: int
    folder: str
    shard: str
    record: int
    clip: str
    frame: int
    lq: np.ndarray
    gt: np.ndarray


def rebuild(run: PastRun) -> typing.List[Sample]:
    """Returns the samples of the step, rank by rank in the order of training.

    Raises:
      UserError: a record is damaged.
    """
    return [sample for rank in range(run.ranks) for sample in _of_rank(run, rank)]


def _of_rank(run, rank):
    per_step = run.replicas // run.ranks   # batches that a process takes in a step
    batch, first = run.data.batch_size, (run.step - 1) * per_step
    with tf.Graph().as_default(), tf.Session() as session:
        places = record_order.records(run.data, run.mixture, batch, rank, run.ranks, first)
        batches = train_dataset(run.data, run.model.num_frames, run.model.upscale, batch, rank, run.ranks, first)
        place, element = (_next(session, dataset) for dataset in (places, batches))
        try:
            for _ in range(per_step):
                features, gt = session.run(element)
                for lq, truth in zip(features['lq'], gt):
                    number, shard, index, record = session.run(place)
                    part, entry = run.mixture.shard(int(shard))
                    clip, frame = record_format.clip_name(record), record_format.header(record)['index']
                    yield Sample(rank, int(number), part.folder, entry.name, int(index), clip, frame, lq, truth)
        except tf.errors.OpError as error:
            raise damage.explain(error, run.data) or UserError(
                'reading %s failed: %s' % (run.data.data_dir, error)) from error


def _next(session, dataset):
    iterator = tf.data.make_initializable_iterator(dataset)
    session.run(iterator.initializer)
    return iterator.get_next()
