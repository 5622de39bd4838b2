"""The table of networks, and what the counting backend knows of one."""
import typing

from edvr.config.model import ModelConfig
from edvr.network.base import Network
from edvr.network.edvr import Edvr
from edvr.network.plain import Plain
from edvr.ops.counting import CountingOps, Shape

NETWORKS: typing.Dict[str, typing.Callable[[ModelConfig], Network]] = {'edvr': Edvr, 'plain': Plain}   # --network


def build(config: ModelConfig) -> Network:
    """Returns the network of a configuration."""
    return NETWORKS[config.network](config)


def macs(config: ModelConfig, height: int, width: int) -> int:
    """Returns the multiply-adds of the convolutions, deformable ones included, to restore one frame from its window.

    Args:
      config: of the network.
      height, width: of the input in pixels.
    """
    return _count(config, height, width).macs


def extraction_macs(config: ModelConfig, height: int, width: int) -> int:
    """Returns the part of `macs` for the features of one frame."""
    ops = CountingOps()
    build(config).extract_features(ops, (1, height, width, 3))
    return ops.macs


def feature_shapes(config: ModelConfig, height: typing.Optional[int], width: typing.Optional[int]
                   ) -> typing.List[Shape]:
    """Returns the shapes (1, h, w, C) of the features of one frame of this size in pixels."""
    return list(build(config).extract_features(CountingOps(), (1, height, width, 3)))


def variable_shapes(config: ModelConfig) -> typing.Dict[str, Shape]:
    """Returns the shape of every variable by its name, such as edvr/conv_first/weight."""
    return _count(config, config.size_multiple, config.size_multiple).variables


def feature_reduction(config: ModelConfig) -> int:
    """Returns the size of an input frame over that of its largest features."""
    size = 4 * config.size_multiple
    return size // max(height for _, height, _, _ in feature_shapes(config, size, size))


def _count(config, height, width):
    ops = CountingOps()
    build(config).restore(ops, (1, config.num_frames, height, width, 3))
    return ops
