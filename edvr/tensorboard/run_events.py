"""TensorBoard events of a training run. No summary operation enters the graph: every device gives the same curves."""
from typing import Any, Dict, Set

import tensorflow.compat.v1 as tf

from edvr.tensorboard import curves, hparams
from edvr.tensorboard.event_writer import EventWriter


class RunEvents(EventWriter):
    """Events of one session of a run; when it resumes at a lower step, the later points are hidden."""

    def __init__(self, folder: str, step: int, former_names: bool = False) -> None:
        """Begins a session.

        Args:
          step: updates done when the session begins.
          former_names: name curves as version 1.0 did.
        """
        super().__init__(folder)
        self._described: Set[str] = set()
        self._former_names = former_names
        self._write(step=step + 1, session_log=tf.SessionLog(status=tf.SessionLog.START))

    def scalars(self, step: int, values: Dict[str, float]) -> None:
        """Writes a point of each curve of `curves`: {name: value}; the first point of a curve has its description."""
        self._values(step, [tf.Summary.Value(
            tag=curves.former_name(name) if self._former_names else name, simple_value=value,
            metadata=self._description(name)) for name, value in sorted(values.items())])

    def _description(self, name: str) -> Any:
        if name in self._described:
            return None
        self._described.add(name)
        return tf.SummaryMetadata(summary_description=curves.CURVES[curves.key_of(name)].description)

    def layout(self, step: int) -> None:
        """Writes the charts of the tab Custom Scalars."""
        from tensorboard.plugins.custom_scalar import metadata
        encoded = metadata.create_summary_metadata().SerializeToString()
        self._values(step, [tf.Summary.Value(
            tag=metadata.CONFIG_SUMMARY_TAG, metadata=tf.SummaryMetadata.FromString(encoded),
            tensor=tf.make_tensor_proto(curves.layout().SerializeToString(), dtype=tf.string))])

    def hparams(self, step: int, values: Dict[str, hparams.HParam], name: str) -> None:
        """Writes the row of this run in TensorBoard's table of hyperparameters.

        Args:
          values: {option: value}, in the order of the table.
          name: of the run.
        """
        self._values(step, [hparams.table(values), hparams.row(values, name)])

    def ended(self, step: int) -> None:
        """Records in that table that the run has made its last step."""
        self._values(step, [hparams.end()])

    def text(self, step: int, tag: str, text: str) -> None:
        """Writes a text in Markdown."""
        metadata = tf.SummaryMetadata(plugin_data=tf.SummaryMetadata.PluginData(plugin_name='text'))
        self._values(step, [tf.Summary.Value(tag=tag, metadata=metadata,
                                            tensor=tf.make_tensor_proto([text], dtype=tf.string))])
