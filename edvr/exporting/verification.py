"""Verifies an exported graph: runs the graph and its checkpoint on the same windows and compares the values."""
import typing

import numpy as np

from data_tools.base.errors import UserError
from edvr.config import ModelConfig
from edvr.config.export import OPEN, InterfaceConfig
from edvr.exporting import freezing


def verify(graph: typing.Any, prefix: str, use_ema: bool, log: typing.Callable[[str], None],
           limits: typing.Dict[str, float]) -> typing.Tuple[dict, typing.List[np.ndarray]]:
    """Compares the values of an exported graph with those of the checkpoint.

    Args:
      graph: FrozenGraph, FrozenParts or OnnxGraph, loaded from the written files.
      prefix: of the checkpoint.
      use_ema: whether moving averages are used.
      log: function that takes a line of text.
      limits: type of the output -> the largest difference that is accepted.
    Returns:
      (dict of max_abs_diff (of values in 0..1), limit and sizes of the windows [N, H, W]; list of the windows, uint8
      [N, T, H, W, 3]).
    Raises:
      UserError: the difference is above the limit or NaN.
    """
    output = graph.interface.output_dtype
    sizes = _trial_sizes(graph.config, graph.interface)
    trials = [_trial_windows(count, graph.config.num_frames, height, width, seed)
              for seed, (count, height, width) in enumerate(sizes)]
    wanted = freezing.reference(prefix, graph.config, trials, use_ema)
    if output == 'uint8':
        wanted = [np.round(np.clip(want, 0, 1) * np.float32(255)) / np.float32(255) for want in wanted]
    results = [graph.run(windows) for windows in trials]
    difference = compare(results, wanted, limits[output], 'the written graph gives other values than the checkpoint')
    log('verified    max abs difference %.3g to the checkpoint, limit %.3g' % (difference, limits[output]))
    return dict(max_abs_diff=difference, limit=limits[output], windows=[list(size) for size in sizes]), trials


def compare(results: typing.Iterable[np.ndarray], wanted: typing.Iterable[np.ndarray], limit: float,
            failure: str) -> float:
    """Returns the largest difference.

    Raises:
      UserError: the difference is above the limit or NaN; the text begins with `failure`.
    """
    difference = 0.
    for result, want in zip(results, wanted):
        # np.maximum, unlike max, keeps a NaN
        difference = float(np.maximum(difference, np.abs(result - want).max()))
    if not difference <= limit:
        raise UserError('%s: max abs difference %g, limit %g; nothing was written' % (failure, difference, limit))
    return difference


def _trial_sizes(model: ModelConfig, interface: InterfaceConfig) -> typing.List[typing.Tuple[int, ...]]:
    """Returns (N, H, W) of the trial windows: the fixed size, or two sizes and counts if sizes are open."""
    step, sizes = model.size_multiple, (interface.height, interface.width)
    if OPEN not in sizes:
        return [(1 if interface.batch_size == 1 else 2,) + sizes]
    trials = [(1, 6 * step, 8 * step), (2, 8 * step, 5 * step)]
    return [(count,) + tuple(trial if size == OPEN else size for size, trial in zip(sizes, small))
            for count, *small in trials]


def _trial_windows(count: int, num_frames: int, height: int, width: int, seed: int) -> np.ndarray:
    """Returns uint8 [N, T, H, W, 3]: smoothed noise that moves, so that every part of the network contributes."""
    noise = np.random.RandomState(seed).uniform(0, 255, (count, height + num_frames, width + num_frames, 3))
    smooth = (noise + np.roll(noise, 1, 1) + np.roll(noise, 1, 2)) / 3
    return np.stack([smooth[:, t:t + height, t:t + width] for t in range(num_frames)], 1).astype(np.uint8)
