"""Packs shards with Apache Beam, on any number of machines.

Each shard is an element. Its worker writes the same bytes as a worker of the local pool, under a temporary name.
Therefore a repeated or duplicate element changes nothing. Finished shards are kept. An earlier stage decodes the clips;
its elements are clips, or all shots of a video. The last step writes the manifest.

Workers may have separate scratch folders: each decodes the frames that its folder lacks.
"""
import typing

import apache_beam as beam
from apache_beam.metrics import Metrics

from data_tools.base import beam_runner, files, worker_pool
from data_tools.base.errors import UserError
from data_tools.media import clips, ffmpeg
from data_tools.packing import finishing, scratch, shard_writer
from data_tools.packing.config import PackConfig

_COUNTERS = 'packing'


class Round(typing.NamedTuple):
    """The shards of one stage, and the input of their workers.

    Attributes:
      tasks: their `centres` are those of all tasks.
      groups: lists of clips that are decoded together.
      centres: {name: sorted list of GT frames in the scratch}.
      scratch: for decoded frames.
      folder: of the set.
      job: the result of `job.describe_job`.
    """
    tasks: typing.List[shard_writer.ShardTask]
    groups: typing.List[typing.List[clips.Clip]]
    centres: typing.Dict[str, typing.List[int]]
    scratch: scratch.Scratch
    folder: str
    job: dict


def run(config: PackConfig, rounds: typing.List[Round], sizes: typing.List[typing.Tuple[int, int]], job: dict) -> None:
    """Packs shards, and writes the manifest if all shards of the set exist then.

    Args:
      config: has a runner.
      rounds: not empty; each starts after the previous one.
      sizes: (height, width) of the LQ frames of all clips.
      job: the result of `job.describe_job`.
    Raises:
      UserError: the errors of `beam_runner.run` and `shard_writer.pack_shard`.
    """
    def build(pipeline):
        stage = pipeline | 'start' >> beam.Create([None])
        for number, one in enumerate(rounds):
            name = 'round %d: ' % number if len(rounds) > 1 else ''
            packed = beam_runner.Packed(one)
            if one.groups:
                stage = _each(stage, name + 'decode', len(one.groups), _Decode(packed), config.runner)
            stage = _each(stage, name + 'pack', len(one.tasks), _Pack(packed), config.runner)
        stage | 'manifest' >> beam.ParDo(_Finish(config.output_dir, sizes, job))

    windows = sum(len(task.windows) for one in rounds for task in one.tasks)
    counters = beam_runner.run(config, build, (_COUNTERS, 'windows'), windows, 'packing', ' windows')
    if counters:
        print('counted by %s: %s' % (config.runner, ', '.join('%d %s' % (value, name.replace('_', ' '))
                                                              for name, value in sorted(counters.items()))))


def _each(stage, name, count, work, runner):
    """Applies `work`, a DoFn, to the numbers below `count` on any worker; yields one element after all are done."""
    numbers = stage | name + ', numbers' >> beam.ParDo(_Numbers(count))
    return (beam_runner.spread(numbers, name + ', spread', runner)
            | name >> beam.ParDo(work)
            | name + ', together' >> beam.GroupByKey())


class _Numbers(beam.DoFn):
    def __init__(self, count):
        self._count = count

    def process(self, _):
        return range(self._count)


class _Worker(beam.DoFn):
    """The common part of the workers of both steps."""

    def __init__(self, packed):
        self._packed, self._ready = packed, False

    def setup(self):
        """Unpacks the round; Beam calls this before the first element."""
        self._round = self._packed.get()
        files.make_dir(self._round.scratch.folder)

    def _begin(self):
        """Checks the version of ffmpeg, and removes the GT frames of earlier rounds from the scratch of this worker."""
        if self._ready:
            return
        if self._round.job['ffmpeg'] not in (None, ffmpeg.version()):
            raise UserError('ffmpeg of this worker is %s, that of the job %s; frames could differ: install the same '
                            'version on all machines' % (ffmpeg.version(), self._round.job['ffmpeg']))
        self._round.scratch.forget_gt(self._round.centres, (clip for group in self._round.groups for clip in group))
        self._ready = True

    def _decode(self, groups):
        frames, each = Metrics.counter(_COUNTERS, 'frames_decoded'), self._round
        with worker_pool.counting(lambda items, size: frames.inc(items)):
            for group in groups:
                scratch.decode_clips(group, {clip.name: each.centres[clip.name] for clip in group
                                             if clip.name in each.centres}, each.scratch)


class _Decode(_Worker):
    """Decodes a group of clips."""

    def process(self, number):
        if not finishing.is_finished(self._round.folder):
            self._begin()
            self._decode([self._round.groups[number]])
        yield None, number


class _Pack(_Worker):
    """Writes a shard if it does not exist."""

    def process(self, number):
        task, folder, job = self._round.tasks[number], self._round.folder, self._round.job
        windows, size = (Metrics.counter(_COUNTERS, name) for name in ('windows', 'bytes_written'))
        # a finished set has no description of the single shard
        if finishing.is_finished(folder) or shard_writer.finished(folder, task.number, job):
            Metrics.counter(_COUNTERS, 'shards_kept').inc()
            windows.inc(len(task.windows))
        else:
            self._begin()
            self._decode(clips.groups(self._missing(task)))
            with worker_pool.counting(lambda count, written: (windows.inc(count), size.inc(written))):
                shard_writer.pack_shard(task, self._round.scratch, folder, job)
            Metrics.counter(_COUNTERS, 'shards_written').inc()
        yield None, number

    def _missing(self, task):
        """Returns the clips of a task with frames that the scratch lacks."""
        return [clip for clip in task.clips.values() if clip.name not in task.kept
                and any(self._round.scratch.missing(clip, self._round.centres.get(clip.name, ())))]


class _Finish(beam.DoFn):
    """Writes the manifest; if it exists, only removes files that an earlier attempt may have left."""

    def __init__(self, folder, sizes, job):
        self._folder, self._sizes, self._job = folder, sizes, job

    def process(self, _):
        if not finishing.is_finished(self._folder):
            parts = finishing.parts_of(self._folder, self._job)
            if None in parts:   # other runs are packing the other shards
                return
            finishing.finish(self._folder, self._sizes, self._job, parts)
        finishing.clean(self._folder, self._job)
