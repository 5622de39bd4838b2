"""Packs shards with Apache Beam: a second pool of the workers of `pack`, on any number of machines.

A shard is an element. Its worker writes the same bytes as a worker of the local pool, under a temporary name, so that
an element that is done again, or at the same time elsewhere, changes nothing; a shard that is there is kept. Before
the shards their clips are decoded, a clip or the shots of a video an element. The manifest is written by a last step.

Workers need not share the scratch: each decodes what its scratch lacks. In a scratch that they share nothing lacks.
"""
import pickle
import typing
import zlib

import apache_beam as beam
from apache_beam.metrics import Metrics

from data_tools.base import beam_runner, files, worker_pool
from data_tools.base.errors import UserError
from data_tools.media import clips, ffmpeg
from data_tools.packing import finishing, scratch, shard_writer

_COUNTERS = 'packing'


class Round(typing.NamedTuple):
    """Shards that are written in one stage, and what their workers need.

    tasks: list of ShardTask, `centres` being those of all of them. groups: list of lists of Clip that are decoded
    together. centres: {name: sorted list of GT frames in the scratch}. scratch: Scratch. folder: str. job: dict.
    """
    tasks: typing.List[typing.Any]
    groups: typing.List[typing.List[typing.Any]]
    centres: typing.Dict[str, typing.List[int]]
    scratch: typing.Any
    folder: str
    job: dict


def run(config, rounds, sizes, job):
    """Packs shards, and writes the manifest if then all are there.

    Args:
      config: PackConfig with a runner.
      rounds: list of Round, not empty; one begins when the one before it is done.
      sizes: see `finishing.sizes_of`. job: see `job.describe_job`.
    Raises:
      UserError: see `beam_runner.run`, `shard_writer.pack_shard`.
    """
    def build(pipeline):
        stage = pipeline | 'start' >> beam.Create([None])
        for number, one in enumerate(rounds):
            name = 'round %d: ' % number if len(rounds) > 1 else ''
            packed = _Packed(one)
            if one.groups:
                stage = _each(stage, name + 'decode', len(one.groups), _Decode(packed))
            stage = _each(stage, name + 'pack', len(one.tasks), _Pack(packed))
        stage | 'manifest' >> beam.ParDo(_Finish(config.output_dir, sizes, job))

    windows = sum(len(task.windows) for one in rounds for task in one.tasks)
    counters = beam_runner.run(config, build, (_COUNTERS, 'windows'), windows, 'packing', ' windows')
    if counters:
        print('counted by %s: %s' % (config.runner, ', '.join('%d %s' % (value, name.replace('_', ' '))
                                                              for name, value in sorted(counters.items()))))


def _each(stage, name, count, work):
    """`work`, a DoFn, on the numbers below `count`, anywhere; gives one element when all are done."""
    return (stage
            | name + ', numbers' >> beam.ParDo(_Numbers(count))
            | name + ', spread' >> beam.Reshuffle()
            | name >> beam.ParDo(work)
            | name + ', together' >> beam.GroupByKey())


class _Packed:
    """A Round as it travels: its clips and windows are long lists of similar text and numbers."""

    def __init__(self, one):
        self._data, self._one = zlib.compress(pickle.dumps(one, 4)), None

    def get(self):
        """The Round."""
        self._one = self._one or pickle.loads(zlib.decompress(self._data))
        return self._one

    def __getstate__(self):
        return dict(self.__dict__, _one=None)


class _Numbers(beam.DoFn):
    def __init__(self, count):
        self._count = count

    def process(self, _):
        return range(self._count)


class _Worker(beam.DoFn):
    """What the workers of both steps do first."""

    def __init__(self, packed):
        self._packed, self._ready = packed, False

    def setup(self):
        """Called by Beam before the first element."""
        self._round = self._packed.get()
        files.make_dir(self._round.scratch.folder)

    def _begin(self):
        """Refuses another ffmpeg, and removes the GT frames of the rounds before, in a scratch of this host too."""
        if self._ready:
            return
        if self._round.job['ffmpeg'] not in (None, ffmpeg.version()):
            raise UserError('ffmpeg of this worker is %s, that of the job %s; frames could differ: install the same '
                            'on all machines' % (ffmpeg.version(), self._round.job['ffmpeg']))
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
    """Writes a shard that is not there."""

    def process(self, number):
        task, folder, job = self._round.tasks[number], self._round.folder, self._round.job
        windows, size = (Metrics.counter(_COUNTERS, name) for name in ('windows', 'bytes_written'))
        # in a finished set nothing describes the single shard any more
        if finishing.is_finished(folder) or shard_writer.finished(folder, task.index, job):
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
        """The clips of a task that the scratch lacks."""
        return [clip for clip in task.clips.values() if clip.name not in task.kept
                and any(self._round.scratch.missing(clip, self._round.centres.get(clip.name)))]


class _Finish(beam.DoFn):
    """Writes the manifest; a second time only removes what the first one may have left."""

    def __init__(self, folder, sizes, job):
        self._folder, self._sizes, self._job = folder, sizes, job

    def process(self, _):
        if finishing.is_finished(self._folder):
            finishing.clean(self._folder, self._job)
            return
        parts = finishing.parts_of(self._folder, self._job)
        if None not in parts:   # else other runs pack the other shards
            finishing.finish(self._folder, self._sizes, self._job, parts)
