"""Options of `edvr.replay`."""
import dataclasses
from typing import Iterator

from data_tools.base import paths
from data_tools.base.config import Config, option
from edvr.devices import DEVICES, KERNELS


@dataclasses.dataclass(frozen=True)
class ReplayConfig(Config):
    """Holds the step to replay, and the device that computes it."""

    TITLE = 'replay'

    model_dir: str = option(paths.RUN, 'directory of the run, which was trained with --deterministic', common=True,
                            shown='run', path='checkpoint')
    step: int = option(0, 'number of the step, as in the log line: the update that makes this number', low=0,
                       common=True)
    data_dir: str = option('', 'the sets of the run, if they are elsewhere now; several with their weights as in '
                           'edvr.train', common=True, path='input', gfile=True)
    checkpoint: str = option('', 'checkpoint that gives the weights; empty is the newest of the run from before the '
                             'step', common=True, path='checkpoint')
    output_dir: str = option('', 'folder for step_N.png and step_N.json; empty is the folder replay of the run',
                             common=True, path='derived')
    device: str = option('cpu', 'device to compute on; auto uses npu if there is an Ascend adapter or card, else the '
                         'GPUs that TensorFlow sees, else the CPU', choices=tuple(DEVICES), common=True, auto=True)
    kernels: str = option('auto', 'operators that compute the network: npu, native (compiled for CPUs), cuda (for '
                          'NVIDIA GPUs), tf (stock operations), auto (the fastest available)',
                          choices=('auto',) + KERNELS)

    def problems(self) -> Iterator[str]:
        if not self.step:
            yield 'step is not given; it is the number of the step to replay, such as --step=1000'
