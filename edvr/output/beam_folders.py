"""Restores a corpus to folders with Apache Beam: each element is a clip, or a range of frames of a long clip."""
import threading
import typing

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.utils import shared

from data_tools.base import beam_runner
from edvr.config.infer import InferConfig
from edvr.config.restoration import RestoreConfig
from edvr.devices import host_memory
from edvr.output import output_lock
from edvr.output.clip_source import Source
from edvr.output.folders import FolderRange, Settings, open_folders, write_ranges
from edvr.output.png_folder import PngFolder
from edvr.restore.restorer import Restorer
from edvr.sharing import splitting

_COUNTERS = 'restoration'


class Corpus(typing.NamedTuple):
    """The work of all workers.

    sources: list of Source.
    folders: list of PngFolder, one for each source.
    ranges: list of FrameRange.
    config: RestoreConfig.
    writers: int, threads that write.
    """
    sources: typing.List[Source]
    folders: typing.List[PngFolder]
    ranges: typing.List[splitting.FrameRange]
    config: RestoreConfig
    writers: int


def write_folders(sources: typing.List[Source], settings: Settings, alone: bool, restore_config: RestoreConfig,
                  config: InferConfig) -> int:
    """Restores sources to folders, on the machines of the runner.

    Args:
      sources: the clips.
      settings: JSON values on which restored frames depend.
      alone: whether there is only one clip in all.
      restore_config: its checkpoint is a path that is valid on all machines.
      config: the output and the runner.
    Returns:
      how many frames were missing.
    Raises:
      UserError: see `beam_runner.run`, `folders.open_folders`.
    """
    with output_lock.of_folder(config.output, config.part_numbers):
        folders = open_folders(sources, config.output, settings, alone, config.overwrite)
        lacking = [(item, folders[item.clip].missing_between(item.first, item.end))
                   for item in splitting.cut([source.length for source in sources], config.stretch)]
        ranges = [item for item, missing in lacking if missing]
        count = sum(end - first for _, missing in lacking for first, end in missing)
        if ranges:
            corpus = beam_runner.Packed(Corpus(sources, folders, ranges, restore_config, config.writers))
            counters = beam_runner.run(config, lambda pipeline: _build(pipeline, corpus, len(ranges), config.runner),
                                       (_COUNTERS, 'frames'), count, 'restoring', 'frame', config.progress)
            loaded = counters.get('networks_loaded')   # some runners have no counters
            print('%d pieces of %d clips%s' % (
                len(ranges), len({item.clip for item in ranges}),
                '; %s loaded the network %d times' % (config.runner, loaded) if loaded else ''))
    return count


def _build(pipeline, corpus, count, runner):
    numbers = pipeline | 'numbers' >> beam.Create(range(count))
    beam_runner.spread(numbers, 'spread', runner) | 'restore' >> beam.ParDo(_WriteRange(corpus))


class _Loaded:
    """The network that the threads of a worker process share; it restores one range at a time."""

    def __init__(self, packed):
        host_memory.tune_malloc()
        self.corpus, self.lock = packed.get(), threading.Lock()
        self.restorer = Restorer(self.corpus.config)


class _WriteRange(beam.DoFn):
    """Restores the range with a number."""

    def __init__(self, packed):
        self._packed, self._handle, self._fresh = packed, shared.Shared(), False
        self._loaded: typing.Any = None

    def setup(self):
        """Loads the network, or uses that of another thread; Beam calls this before the first element."""
        self._loaded = self._handle.acquire(self._load)

    def _load(self):
        self._fresh = True
        return _Loaded(self._packed)

    def process(self, number):
        if self._fresh:   # counters exist only while an element is processed
            Metrics.counter(_COUNTERS, 'networks_loaded').inc()
            self._fresh = False
        corpus = self._loaded.corpus
        clip, first, end = corpus.ranges[number]
        with self._loaded.lock:
            # frames of an earlier attempt or another worker are kept: a frame appears only when it is complete
            missing = [FolderRange(corpus.sources[clip], begin, stop, corpus.folders[clip], corpus.writers)
                       for begin, stop in corpus.folders[clip].missing_between(first, end)]
            for _ in write_ranges(self._loaded.restorer, missing, _Progress()):
                pass

    def __getstate__(self):
        return dict(self.__dict__, _loaded=None)


class _Progress:
    """Counts restored frames with Beam."""

    def __init__(self):
        self._counter = Metrics.counter(_COUNTERS, 'frames')

    def update(self):
        self._counter.inc()
