"""The workers of a restoration: this process, or a process for each device of this host."""
import contextlib
import shutil
import signal
import sys
import tempfile

from data_tools.base import files
from data_tools.base.errors import UserError
from edvr.devices import DEVICES
from edvr.launch import relaunch
from edvr.launch.plan import Plan, apply
from edvr.restore.restorer import Network, Restorer
from edvr.sharing import job

_STOPPED = tuple(128 + signum for signum in (signal.SIGINT, signal.SIGTERM))


class ThisProcess:
    """Restores in this process.

    Attributes:
      size: int, the number of workers.
      network: object with the attributes of `restorer.Network`.
    """

    size = 1

    def __init__(self, restorer):
        """Args: restorer: Restorer."""
        self.network = self._restorer = restorer

    def do(self, work, shares, bar):
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

    def __init__(self, environments, network, device):
        """
        Args:
          environments: {number: {variable: value, or None to unset it}} of the processes; they select the device.
          network: restorer.Network: all processes use its checkpoint, also while a training writes newer ones.
          device: str.
        """
        self.size, self.network = len(environments), network
        self._environments, self._device = environments, device

    def do(self, work, shares, bar):
        """As `ThisProcess.do`; `work` is a function of a module, and items can be pickled.

        Raises:
          SystemExit: a process failed or a signal arrived. All processes have ended; the exit code is that of the
            failed process.
        """
        shares = [job.Share(number, len(shares), work, items) for number, items in enumerate(shares)]
        with _folder() as folder:
            if shares:
                self._run(folder, shares, bar)
            yield from job.results(folder, shares)

    def _run(self, folder, shares, bar):
        environments = {number: dict(self._environments[number], **changes)
                        for number, changes in job.write(folder, shares).items()}
        counts = job.counts(folder, len(shares))

        def look():
            bar.update(int(counts.sum()) - bar.n)
        arguments = ['--device=' + self._device, '--checkpoint=' + self.network.path]
        code = relaunch.run_workers(environments, folder, arguments, look)
        if code:
            sys.exit(code)


@contextlib.contextmanager
def open_workers(config, host, alone=False):
    """A context manager that gives the workers: ThisProcess or WorkerProcesses.

    In a process that WorkerProcesses started, it does the share of that process and gives None.

    Args:
      config: RestoreConfig. host: HostConfig.
      alone: whether one device does all the work.
    Raises:
      UserError: see `Restorer`; the host has fewer devices than requested.
    """
    plan = DEVICES[config.device].plan_workers(host) if not job.given() else Plan({}, {}, [])
    if plan.environments and not alone:
        yield _worker_processes(plan, config)
        return
    _take_one(plan)
    with Restorer.from_config(config) as restorer:
        if job.given():
            job.do(restorer)
        yield None if job.given() else ThisProcess(restorer)


def take_one_device(device, host, why):
    """Assigns one of the devices of a HostConfig to this process. Raises UserError if several are requested.

    Args:
      device: str. why: str, the option that supports one device only.
    """
    if host.num_devices > 1:
        raise UserError('--num_devices=%d with %s, which uses one device: leave one of the two out'
                        % (host.num_devices, why))
    _take_one(DEVICES[device].plan_workers(host))


def _take_one(plan):
    apply(plan.environments.get(0, plan.changes))


def _worker_processes(plan, config):
    if DEVICES[config.device].ON_HOST and config.tile == 'auto':
        raise UserError('--tile=auto measures the memory for one process, but %d processes share it: '
                        'give the side of a tile, such as --tile=256, or --num_devices=1' % len(plan.environments))
    for note in plan.notes:
        print(note, flush=True)
    return WorkerProcesses(plan.environments, Network.at(config.checkpoint), config.device)


@contextlib.contextmanager
def _folder():
    """A folder for a job; after a failure it is kept, because it holds the logs."""
    with files.explained(tempfile.gettempdir()):
        folder = tempfile.mkdtemp(prefix='edvr-')
    code = 0
    try:
        yield folder
    except SystemExit as error:
        code = error.code
        raise
    finally:
        if code in (0,) + _STOPPED:
            shutil.rmtree(folder, ignore_errors=True)
