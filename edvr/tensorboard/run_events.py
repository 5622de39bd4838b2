"""TensorBoard events of a training run. No summary operation enters the graph: every device gives the same curves."""
import time
from typing import Any, Dict, Set

import tensorflow.compat.v1 as tf

from edvr.tensorboard.event_writer import EventWriter

# the description that TensorBoard shows beside a curve
DESCRIPTIONS = {
    'train/loss': 'Loss of the whole batch, before the update; with --loss_reduction=sum of all its values.',
    'train/loss_per_pixel': 'The loss divided by the number of values that it sums.',
    'train/psnr': 'PSNR in dB of the training crops, RGB, not rounded.',
    'train/learning_rate': 'Learning rate of the schedule; offsets learn with --offset_rate times it.',
    'train/gradient_norm': 'Global norm of the gradients, before --clip_norm.',
    'train/ema_decay': 'Decay of the averaged weights; it rises to --ema_decay.',
    'train/loss_scale': 'Factor on the loss against float16 underflow.',
    'guard/skipped_updates': 'Updates that the guard has skipped since the run began.',
    'speed/samples_per_second': 'Samples in a second, over all devices.',
    'speed/step_ms': 'Milliseconds from one update to the next.',
    'speed/data_wait_share': 'Share of the time that training waits for its input.',
    'data/share': 'Share of the samples that are of this set of --data_dir, since the last point.',
    'data/loss_per_pixel': 'Mean loss of a value in the samples of this set, since the last point.',
    'offset/l3': 'Mean absolute DCN offset of the coarsest level, in its pixels.',
    'offset/l2': 'Mean absolute DCN offset of the middle level, in its pixels.',
    'offset/l1': 'Mean absolute DCN offset of the finest level, in its pixels.',
    'offset/cas': 'Mean absolute DCN offset of the cascading refinement, in pixels.',
    'validation/psnr': 'PSNR in dB of the validation clips, RGB, rounded as images are stored; the run `bicubic` is '
                       'bicubic interpolation.',
}


class RunEvents(EventWriter):
    """Events of one session of a run; when it resumes at a lower step, the later points are hidden."""

    def __init__(self, folder: str, step: int) -> None:
        """Begins a session.

        Args:
          step: updates done when the session begins.
        """
        super().__init__(folder)
        self._described: Set[str] = set()
        self._write(step=step + 1, session_log=tf.SessionLog(status=tf.SessionLog.START))

    def scalars(self, step: int, values: Dict[str, float]) -> None:
        """Writes a point of each curve as EventWriter does; the first point of a curve has its description."""
        points = [tf.Summary.Value(tag=tag, simple_value=value, metadata=self._description(tag))
                  for tag, value in sorted(values.items())]
        self._values(step, points)

    def _description(self, tag: str) -> Any:
        text = DESCRIPTIONS.get(tag) or DESCRIPTIONS.get(tag.rpartition('/')[0])   # the last part names a set
        if tag in self._described or not text:
            return None
        self._described.add(tag)
        return tf.SummaryMetadata(summary_description=text)

    def hparams(self, step: int, values: Dict[str, Any], name: str) -> None:
        """Writes the row of this run in TensorBoard's HParams tab.

        Args:
          values: {name: bool, number or str}.
          name: of the run.
        """
        # installed with TensorFlow; its import takes a second
        from tensorboard.plugins.hparams import summary
        row = summary.session_start_pb(hparams=values, group_name=name, start_time_secs=time.time())
        self._write(step=step, summary=tf.Summary.FromString(row.SerializeToString()))

    def text(self, step: int, tag: str, text: str) -> None:
        """Writes a text in Markdown."""
        metadata = tf.SummaryMetadata(plugin_data=tf.SummaryMetadata.PluginData(plugin_name='text'))
        self._values(step, [tf.Summary.Value(tag=tag, metadata=metadata,
                                            tensor=tf.make_tensor_proto([text], dtype=tf.string))])
