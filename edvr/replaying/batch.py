"""Rebuilds the batch of a step."""
import typing

import numpy as np
import tensorflow.compat.v1 as tf

from data_tools.base.errors import UserError
from data_tools.record import record_format
from edvr.data import damage, input_pipeline, record_order
from edvr.data.mixture import Part
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
      x, y: left and top of its crop in the frame, pixels of GT.
      flips: what was done to the crop, in this order: names of `input_pipeline.Draw.flips`.
      interval: distance of its frames, in those of the record.
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
    x: int
    y: int
    flips: typing.List[str]
    interval: int
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
        draws = {part.first: _Draw(run, part, session) for part in run.mixture.parts}
        places = record_order.records(run.data, run.mixture, batch, rank, run.ranks, first, per_step)
        batches = input_pipeline.train_dataset(run.data, run.model.num_frames, run.model.upscale, batch, rank,
                                               run.ranks, first, per_step=per_step)
        place, element = (_next(session, dataset) for dataset in (places, batches))
        try:
            for _ in range(per_step):
                features, gt = session.run(element)
                for lq, truth in zip(features['lq'], gt):
                    number, shard, index, record = session.run(place)
                    part, entry = run.mixture.shard(int(shard))
                    header, clip = record_format.header(record), record_format.clip_name(record)
                    yield Sample(rank, int(number), part.folder, entry.name, int(index), clip, header['index'],
                                 *draws[part.first](number, header), lq, truth)
        except tf.errors.OpError as error:
            raise damage.explain(error, run.data) or UserError(
                'reading %s failed: %s' % (run.data.data_dir, error)) from error


class _Draw:
    """Repeats how samples of a set were cut and augmented."""

    def __init__(self, run: PastRun, part: Part, session: tf.Session) -> None:
        self._session, self._to_gt = session, part.manifest.scale
        self._inputs = [tf.placeholder(dtype, []) for dtype in (tf.int64, tf.int32, tf.int32)]
        self._draw = input_pipeline.draw(run.data, part, run.model.upscale, 0, 0, *self._inputs)

    def __call__(self, number: int, header: typing.Dict[str, int]) -> typing.Tuple[int, int, typing.List[str], int]:
        """Returns x, y, flips and interval of a Sample."""
        values = number, header['lq_height'], header['lq_width']
        drawn = self._session.run(self._draw, dict(zip(self._inputs, values)))
        flips = [name for name in self._draw.flips if drawn.flips[name]]
        return int(drawn.x) * self._to_gt, int(drawn.y) * self._to_gt, flips, int(drawn.interval)


def _next(session, dataset):
    iterator = tf.data.make_initializable_iterator(dataset)
    session.run(iterator.initializer)
    return iterator.get_next()
