"""Restores a corpus with Apache Beam: each element is a clip, or a stretch of a long clip."""
import threading
import time
import typing

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.utils import shared

from data_tools.base import beam_runner
from edvr.devices import host_memory
from edvr.output import infer_job, output_lock
from edvr.output.folders import Part, open_folders, restore_parts
from edvr.restore.restorer import Restorer
from edvr.sharing import splitting

_COUNTERS = 'restoration'


class Work(typing.NamedTuple):
    """The work of all workers.

    sources: list of clip_source.Source. folders: list of PngFolder, one for each source. items: list of Stretch.
    config: RestoreConfig. writers: int, threads that write.
    """
    sources: typing.List[typing.Any]
    folders: typing.List[typing.Any]
    items: typing.List[splitting.Stretch]
    config: typing.Any
    writers: int


def restore(network, sources, settings, restore_config, config):
    """Restores sources to folders, on the machines of the runner.

    Args:
      network: restorer.Network. sources: list of clip_source.Source. settings: see `infer_job.settings_of`.
      restore_config: RestoreConfig; its checkpoint is a path that is valid on all machines. config: InferConfig.
    Returns:
      int, how many frames were missing.
    Raises:
      UserError: see `beam_runner.run`, `folders.open_folders`.
    """
    alone, share = len(sources) == 1, infer_job.share_of(sources, config)
    with output_lock.of_folder(config.output, config.share):
        folders = open_folders(share, config.output, settings, alone, config.overwrite)
        lacking = [(item, folders[item.clip].missing_between(item.first, item.end))
                   for item in splitting.cut([source.length for source in share], config.stretch)]
        items = [item for item, parts in lacking if parts]
        missing = sum(end - first for _, parts in lacking for first, end in parts)
        if items:
            started = time.time()
            work = beam_runner.Packed(Work(share, folders, items, restore_config, config.writers))
            counters = beam_runner.run(config, lambda pipeline: _build(pipeline, work, len(items)),
                                       (_COUNTERS, 'frames'), missing, 'restoring', 'frame')
            loaded = counters.get('networks_loaded')   # some runners have no counters
            print('%d pieces of %d clips%s' % (
                len(items), len({item.clip for item in items}),
                '; %s loaded the network %d times' % (config.runner, loaded) if loaded else ''))
            infer_job.report(missing, network, config.output, time.time() - started)
        else:
            infer_job.report(0, network, config.output, 0)
    return missing


def _build(pipeline, work, count):
    (pipeline
     | 'numbers' >> beam.Create(range(count))
     | 'spread' >> beam.Reshuffle()
     | 'restore' >> beam.ParDo(_Restore(work)))


class _Loaded:
    """The network that the threads of a worker process share; it restores one piece at a time."""

    def __init__(self, packed):
        host_memory.tune_malloc()
        self.work, self.lock = packed.get(), threading.Lock()
        self.restorer = Restorer.from_config(self.work.config)


class _Restore(beam.DoFn):
    """Restores the stretch with a number."""

    def __init__(self, packed):
        self._packed, self._handle, self._loaded, self._fresh = packed, shared.Shared(), None, False

    def setup(self):
        """Beam calls this before the first element: loads the network, or uses the network of another thread."""
        self._loaded = self._handle.acquire(self._load)

    def _load(self):
        self._fresh = True
        return _Loaded(self._packed)

    def process(self, number):
        if self._fresh:   # counters exist only while an element is processed
            Metrics.counter(_COUNTERS, 'networks_loaded').inc()
            self._fresh = False
        work = self._loaded.work
        clip, first, end = work.items[number]
        with self._loaded.lock:
            # frames of an earlier attempt or another worker are kept: a frame appears only when it is whole
            parts = [Part(work.sources[clip], begin, stop, work.folders[clip], work.writers)
                     for begin, stop in work.folders[clip].missing_between(first, end)]
            for _ in restore_parts(self._loaded.restorer, parts, _Progress()):
                pass

    def __getstate__(self):
        return dict(self.__dict__, _loaded=None)


class _Progress:
    """Counts restored frames with Beam."""

    def __init__(self):
        self._counter = Metrics.counter(_COUNTERS, 'frames')

    def update(self):
        self._counter.inc()
