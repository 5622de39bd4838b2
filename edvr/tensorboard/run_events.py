"""TensorBoard events of a training run. No summary operation enters the graph: every device gives the same curves."""
import tensorflow.compat.v1 as tf

from edvr.tensorboard.event_writer import EventWriter


class RunEvents(EventWriter):
    """Events of one session of a run; when it resumes at a lower step, the later points are hidden."""

    def __init__(self, folder, step):
        """
        Args:
          folder: str.
          step: int, updates done when the session begins.
        """
        super().__init__(folder)
        self._write(step=step + 1, session_log=tf.SessionLog(status=tf.SessionLog.START))

    def text(self, step, tag, text):
        """text: str, Markdown."""
        metadata = tf.SummaryMetadata(plugin_data=tf.SummaryMetadata.PluginData(plugin_name='text'))
        self._values(step, [tf.Summary.Value(tag=tag, metadata=metadata,
                                            tensor=tf.make_tensor_proto([text], dtype=tf.string))])
