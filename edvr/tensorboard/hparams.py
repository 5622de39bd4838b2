"""Rows of TensorBoard's table of hyperparameters.

Values keep the type of their option: TensorBoard's own function writes a bool as a number in some of its versions, and
two types for one option make the table useless.
"""
import time
from typing import Any, Dict, Sequence, Union

import tensorflow.compat.v1 as tf

HParam = Union[bool, float, str]

# the metrics of the table, in its order: curve, and its heading
METRICS = (('validation/psnr_best', 'best validation PSNR'), ('validation/psnr', 'validation PSNR'),
           ('train/psnr', 'training PSNR'), ('train/loss_per_pixel', 'loss of a value'))


def table(values: Dict[str, HParam]) -> 'tf.Summary.Value':
    """Returns the table: the hyperparameters in the order of `values`, and the metrics."""
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

    def kind(value: HParam) -> Any:
        return (api_pb2.DATA_TYPE_BOOL if isinstance(value, bool) else
                api_pb2.DATA_TYPE_STRING if isinstance(value, str) else api_pb2.DATA_TYPE_FLOAT64)

    return _value(metadata.EXPERIMENT_TAG, plugin_data_pb2.HParamsPluginData(experiment=api_pb2.Experiment(
        hparam_infos=[api_pb2.HParamInfo(name=name, type=kind(value)) for name, value in values.items()],
        metric_infos=[api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag), display_name=heading)
                      for tag, heading in METRICS])))


def row(values: Dict[str, HParam], name: str) -> 'tf.Summary.Value':
    """Returns the row of the run `name`: {option: value}."""
    from tensorboard.plugins.hparams import metadata, plugin_data_pb2
    start = plugin_data_pb2.SessionStartInfo(group_name=name, start_time_secs=time.time())
    for option, value in values.items():
        field = ('bool_value' if isinstance(value, bool) else 'string_value' if isinstance(value, str)
                 else 'number_value')
        setattr(start.hparams[option], field, value)
    return _value(metadata.SESSION_START_INFO_TAG, plugin_data_pb2.HParamsPluginData(session_start_info=start))


def end() -> 'tf.Summary.Value':
    """Returns the mark of a run that has made its last step."""
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
    return _value(metadata.SESSION_END_INFO_TAG, plugin_data_pb2.HParamsPluginData(
        session_end_info=plugin_data_pb2.SessionEndInfo(status=api_pb2.STATUS_SUCCESS, end_time_secs=time.time())))


def _value(tag: str, data: Any) -> 'tf.Summary.Value':
    # installed with TensorFlow; its import takes a second
    from tensorboard.plugins.hparams import metadata
    encoded = metadata.create_summary_metadata(data).SerializeToString()
    empty: Sequence[float] = ()   # TensorBoard 2 expects a tensor, and reads only the metadata
    return tf.Summary.Value(tag=tag, metadata=tf.SummaryMetadata.FromString(encoded),
                            tensor=tf.make_tensor_proto(empty, tf.float32))
