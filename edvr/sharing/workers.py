"""The workers of a restoration: this process, or a process for each device of this host."""
import contextlib
import shutil
import signal
import sys
import tempfile
import typing

from data_tools.base import files
from data_tools.base.errors import UserError
from edvr.config.host import HostConfig
from edvr.config.restoration import RestoreConfig
from edvr.config.runtime import RuntimeConfig
from edvr.devices import DEVICES, device_of
from edvr.launch import relaunch
from edvr.launch.plan import Plan, apply
from edvr.restore.network_info import NetworkInfo
from edvr.restore.restorer import Restorer
from edvr.sharing import share_files

Work = typing.Callable[[Restorer, typing.Any, typing.Any], typing.Iterator[typing.Any]]

_STOPPED = tuple(128 + signum for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))


class ThisProcess:
    """Restores in this process.

    Attributes:
      size: the number of workers.
      network: object with the attributes of NetworkInfo.
    """

    size = 1

    def __init__(self, restorer: Restorer) -> None:
        self.network: typing.Any = restorer
        self._restorer = restorer

    def do(self, work: Work, shares: typing.Sequence[typing.Any], bar: typing.Any) -> typing.Iterator[typing.Any]:
        """Yields the results of all shares in their order.

        Args:
          work: function(restorer, items, progress) -> iterator of results. It calls progress.update() for each frame.
          shares: list of items, at most `size`.
          bar: tqdm bar of frames.
        """
        for items in shares:
            yield from work(self._restorer, items, bar)


class WorkerProcesses:
    """Restores in a process for each of several devices. Attributes and methods are those of `ThisProcess`."""

    def __init__(self, environments: typing.Mapping[int, typing.Mapping[str, typing.Optional[str]]],
                 network: NetworkInfo, device: str) -> None:
        """
        Args:
          environments: {number: {variable: value, or None to unset it}} of the processes; they select the device.
          network: all processes use its checkpoint, also while a training writes newer ones.
          device: 'npu', 'gpu' or 'cpu'.
        """
        self.size = len(environments)
        self.network: typing.Any = network
        self._environments, self._device = environments, device

    def do(self, work: Work, shares: typing.Sequence[typing.Any], bar: typing.Any) -> typing.Iterator[typing.Any]:
        """Does as `ThisProcess.do`; `work` is a function of a module, and items can be pickled.

        Raises:
          SystemExit: a process failed or a signal arrived. All processes have ended; the exit code is that of the
            failed process.
        """
        shares = [share_files.WorkerShare(number, len(shares), work, items) for number, items in enumerate(shares)]
        with _folder() as folder:
            if shares:
                self._run(folder, shares, bar)
            yield from share_files.results(folder, shares)

    def _run(self, folder, shares, bar):
        environments = {number: dict(self._environments[number], **changes)
                        for number, changes in share_files.write(folder, shares).items()}
        counts = share_files.counts(folder, len(shares))

        def look():
            bar.update(int(counts.sum()) - bar.n)
        arguments = ['--device=' + self._device, '--checkpoint=' + self.network.path]
        code = relaunch.run_workers(environments, folder, arguments, look)
        if code:
            sys.exit(code)


def do_share(config: RestoreConfig) -> None:
    """Does the share of this process. Raises UserError as `Restorer`."""
    with Restorer(config) as restorer:
        share_files.do(restorer)


def plan_workers(config: RestoreConfig, host: HostConfig, alone: bool = False) -> Plan:
    """Plans the workers of a restoration.

    Args:
      config: RestoreConfig.
      host: HostConfig.
      alone: whether one device does all the work.
    Returns:
      Plan; without environments for this process alone.
    Raises:
      UserError: the host has fewer devices than requested, or --tile=auto for several processes.
    """
    plan = DEVICES[config.device].plan_workers(host)
    if alone:
        return Plan({}, plan.environments.get(0, plan.changes), [])
    if plan.environments and DEVICES[config.device].ON_HOST and config.tile == 'auto':
        raise UserError('--tile=auto measures the memory for one process, but %d processes share it: '
                        'give the side of a tile, such as --tile=256, or --num_devices=1' % len(plan.environments))
    return plan


@contextlib.contextmanager
def open_workers(plan: Plan, config: RestoreConfig,
                 network: NetworkInfo) -> typing.Iterator[typing.Union[ThisProcess, WorkerProcesses]]:
    """Opens the workers of a plan for a `with` block.

    Args:
      plan: the result of `plan_workers`.
      config: RestoreConfig.
      network: the NetworkInfo of its checkpoint.
    Raises:
      UserError: the errors of `Restorer`.
    """
    print_placement(config, network)
    if plan.environments:
        for note in plan.notes:
            print(note, flush=True)
        yield WorkerProcesses(plan.environments, network, config.device)
        return
    apply(plan.changes)
    with Restorer(config, checkpoint=network.path) as restorer:
        yield ThisProcess(restorer)


def check_one_device(host: HostConfig, why: str) -> None:
    """Raises UserError if several devices are requested and the option `why` supports one only."""
    if host.num_devices > 1:
        raise UserError('--num_devices=%d with %s, which uses one device: leave one of the two out'
                        % (host.num_devices, why))


def print_placement(config: RestoreConfig, network: typing.Any) -> None:
    """Prints where the device runs operations of a network, if that matters; network: NetworkInfo or Restorer."""
    if network.step is None:   # an exported graph has its operators
        return
    device = device_of(RuntimeConfig(device=config.device, kernels=config.kernels, npu_dcn=config.npu_dcn,
                                     soc_version=config.soc_version))
    for line in device.placement(network.config):
        print(line, flush=True)


def take_one_device(device: str, host: HostConfig, why: str) -> None:
    """Assigns one of the devices of a host to this process.

    Args:
      device: 'npu', 'gpu' or 'cpu'.
      host: HostConfig.
      why: the option that supports one device only.
    Raises:
      UserError: several devices are requested.
    """
    check_one_device(host, why)
    plan = DEVICES[device].plan_workers(host)
    apply(plan.environments.get(0, plan.changes))


@contextlib.contextmanager
def _folder():
    """Makes a folder for a job, for a `with` block; after a failure it is kept, because it holds the logs."""
    with files.explained(tempfile.gettempdir()):
        folder = tempfile.mkdtemp(prefix='edvr-')
    code: typing.Any = 0
    try:
        yield folder
    except SystemExit as error:
        code = error.code
        raise
    finally:
        if code in (0,) + _STOPPED:
            shutil.rmtree(folder, ignore_errors=True)
