"""What restoring asks of a loaded network."""
import abc
import typing

import numpy as np

from edvr.config.export import InterfaceConfig
from edvr.config.model import ModelConfig


class Engine(abc.ABC):
    """Describes a loaded network as functions on NumPy arrays.

    Attributes:
      path: the checkpoint's prefix, or the path of the exported graph.
      config: ModelConfig.
      step: the training step of a checkpoint, 0 where its name has none; None for an exported graph.
      interface: InterfaceConfig of an exported graph, whose fixed sizes apply; None for a checkpoint.
      READS_UINT16: whether frames may be uint16; otherwise they are uint8.
    """

    path: str
    config: ModelConfig
    step: typing.Optional[int] = None
    interface: typing.Optional[InterfaceConfig] = None
    READS_UINT16 = False

    @abc.abstractmethod
    def run(self, windows: np.ndarray) -> np.ndarray:
        """Restores whole windows, without kept features.

        Args:
          windows: uint8 or uint16 [N, T, H, W, 3], RGB; N >= 1.
        Returns:
          float32 [N, s*H, s*W, 3].
        """

    def close(self) -> None:   # noqa: B027 an engine may hold nothing
        """Frees the weights and what the session holds."""


class FeatureEngine(Engine):
    """Describes a network that can compute the features of each frame once, for all windows that need them."""

    @abc.abstractmethod
    def features(self, frame: np.ndarray) -> typing.Tuple[np.ndarray, ...]:
        """Returns the features of a frame, an argument of `restore`.

        Args:
          frame: uint8 or uint16 [H, W, 3], height and width multiples of `config.size_multiple`.
        Returns:
          float32 arrays [1, h, w, C].
        """

    @abc.abstractmethod
    def restore(self, features: typing.Sequence[typing.Sequence[np.ndarray]], centre: np.ndarray) -> np.ndarray:
        """Restores the frame in the middle of a window.

        Args:
          features: T results of `features`, in the order of the window.
          centre: uint8 or uint16 [H, W, 3], the frame to restore.
        Returns:
          float32 [s*H, s*W, 3].
        """
