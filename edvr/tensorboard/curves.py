"""The curves of a training run: their names, descriptions, order, and charts.

TensorBoard sorts groups by the part of a name before the slash. What is looked at first is in `train` and
`validation`; all others begin with `watch`, which sorts after them.
"""
from typing import Any, Dict, List, NamedTuple, Tuple

Charts = Tuple[Tuple[str, Tuple[str, ...]], ...]

BICUBIC = 'validation/psnr_bicubic'


class Curve(NamedTuple):
    """Describes a curve.

    Attributes:
      description: what TensorBoard shows beside it.
      former: its name in runs that version 1.0 began; '' if it is the same.
    """
    description: str
    former: str = ''


# names of `watch_data` are followed by a slash and the name of a set
CURVES: Dict[str, Curve] = {
    'train/loss': Curve('Loss of the whole batch, before the update; with --loss_reduction=sum of all its values.'),
    'train/loss_per_pixel': Curve('The loss divided by the number of values that it sums.'),
    'train/psnr': Curve('PSNR in dB of the training crops, RGB, not rounded.'),
    'train/learning_rate': Curve('Learning rate of the schedule; offsets learn with --offset_rate times it.'),
    'validation/psnr': Curve('PSNR in dB of the validation clips, RGB, rounded as images are stored; the run `bicubic` '
                             'is bicubic interpolation.'),
    'validation/psnr_best': Curve('The highest validation PSNR so far; its checkpoint is in `best/`.'),
    'watch_data/share': Curve('Share of the samples that are of this set of --data_dir, since the last point.',
                              'data/share'),
    'watch_data/loss_per_pixel': Curve('Mean loss of a value in the samples of this set, since the last point.',
                                       'data/loss_per_pixel'),
    'watch_input/data_wait_share': Curve('Share of the time that training waits for its input.',
                                         'speed/data_wait_share'),
    'watch_input/read_mb_per_second': Curve('MB of records that rank 0 reads in a second, from the storage or the page '
                                            'cache.'),
    'watch_input/samples_ready': Curve('Samples of rank 0 that are prepared and that no step has used yet.'),
    'watch_input/decoding_busy_share': Curve('Share of the threads that decode crops that are busy.'),
    'watch_input/own_cores_share': Curve('Share of the cores of the host of rank 0 that its process uses.'),
    'watch_input/all_cores_share': Curve('Share of the cores of the host of rank 0 that all processes use.'),
    'watch_offset/l3': Curve('Mean absolute DCN offset of the coarsest level, in its pixels.', 'offset/l3'),
    'watch_offset/l2': Curve('Mean absolute DCN offset of the middle level, in its pixels.', 'offset/l2'),
    'watch_offset/l1': Curve('Mean absolute DCN offset of the finest level, in its pixels.', 'offset/l1'),
    'watch_offset/cas': Curve('Mean absolute DCN offset of the cascading refinement, in pixels.', 'offset/cas'),
    'watch_speed/samples_per_second': Curve('Samples in a second, over all devices.', 'speed/samples_per_second'),
    'watch_speed/step_ms': Curve('Milliseconds from one update to the next.', 'speed/step_ms'),
    'watch_speed/device_hours': Curve('Hours of all devices together since the run began.'),
    'watch_update/gradient_norm': Curve('Global norm of the gradients, before --clip_norm.', 'train/gradient_norm'),
    'watch_update/ema_decay': Curve('Decay of the averaged weights; it rises to --ema_decay.', 'train/ema_decay'),
    'watch_update/loss_scale': Curve('Factor on the loss against float16 underflow.', 'train/loss_scale'),
    'watch_update/skipped': Curve('Updates that the guard has skipped since the session began.',
                                  'guard/skipped_updates'),
}

# title and curves of the charts of the tab Custom Scalars
CHARTS: Charts = (
    ('PSNR in dB: training, validation, bicubic', ('train/psnr', 'validation/psnr')),
    ('loss of a value', ('train/loss_per_pixel',)),
    ('learning rate', ('train/learning_rate',)),
)
INPUT_CHARTS: Charts = (
    ('shares: waits for data, decoding threads busy', ('watch_input/data_wait_share',
                                                       'watch_input/decoding_busy_share')),
    ('samples ready', ('watch_input/samples_ready',)),
    ('read MB/s', ('watch_input/read_mb_per_second',)),
    ('shares of the cores: this process, all', ('watch_input/own_cores_share', 'watch_input/all_cores_share')),
)


def key_of(name: str) -> str:
    """Returns the key of CURVES of a curve, whose name may have the name of a set behind it."""
    return next(key for key in CURVES if name == key or name.startswith(key + '/'))


def former_name(name: str) -> str:
    """Returns the name of a curve in runs that version 1.0 began."""
    key = key_of(name)
    return (CURVES[key].former or key) + name[len(key):]


def layout() -> Any:
    """Returns the charts of the tab Custom Scalars, a Layout of TensorBoard."""
    # installed with TensorFlow; its import takes a second
    from tensorboard.plugins.custom_scalar import layout_pb2

    def pattern(name: str) -> str:
        return '^(%s)$' % '|'.join(sorted({name, former_name(name)}))

    def charts(chosen: Charts) -> List[Any]:
        return [layout_pb2.Chart(title=title, multiline=layout_pb2.MultilineChartContent(
            tag=list(map(pattern, names)))) for title, names in chosen]

    categories = [layout_pb2.Category(title=title, chart=charts) for title, charts in (
        ('training', charts(CHARTS)), ('input', charts(INPUT_CHARTS)))]
    return layout_pb2.Layout(category=categories)
