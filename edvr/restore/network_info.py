"""The properties of a network, read without loading it."""
import typing

from data_tools.base.errors import UserError
from edvr import checkpoints
from edvr.config import ModelConfig
from edvr.exporting import description


class NetworkInfo(typing.NamedTuple):
    """The properties of a network; the fields are those of a Restorer.

    Attributes:
      path: the checkpoint's prefix, or the exported graph.
      config: of the network.
      step: training step of a checkpoint; None for an exported graph.
      reads_uint16: whether frames may be uint16.
    """
    path: str
    config: ModelConfig
    step: typing.Optional[int]
    reads_uint16: bool

    @classmethod
    def at(cls, path: str, trust_graph: bool = False) -> 'NetworkInfo':
        """Returns the NetworkInfo of a training directory, a checkpoint or an exported graph.

        Args:
          path: of the network.
          trust_graph: whether graphs may have operations that exports do not contain.
        Raises:
          UserError: there is no network at `path`, or it cannot be read.
        """
        check_given(path)
        if not description.is_exported(path):
            prefix = checkpoints.chosen(path)
            return cls(prefix, checkpoints.load_model_config(path), checkpoints.step_of(prefix), True)
        return cls(path, description.read(path, trust_graph).model, None, False)


def check_given(path: str) -> None:
    """Raises UserError if the path of a network is empty."""
    if not path:
        raise UserError('--checkpoint is not given; name a training directory, a checkpoint or an exported graph')
