"""Writes a shard, in a worker of make_tfrecords."""
import os
import typing
import zlib

import numpy as np

from data_tools.base import files, schema, worker_pool
from data_tools.base.errors import UserError
from data_tools.media import windows
from data_tools.media.clips import Clip
from data_tools.packing.scratch import Scratch, frame_bytes
from data_tools.record import record_format, shard_reader
from data_tools.record.job_windows import NO_FILL, stored_frames
from data_tools.record.manifest import MANIFEST, Manifest, Shard, shard_name
from data_tools.record.manifest_schema import SHARD_SCHEMA

Job = typing.Dict[str, typing.Any]   # see `job.describe_job`
_PART = schema.Record(shard=SHARD_SCHEMA, sources=schema.MapOf(schema.Text()))
_ADVICE = 'the file was cut or edited: remove it; then its shard is packed again'


class ShardTask(typing.NamedTuple):
    """A shard to write.

    Attributes:
      number: of the shard.
      windows: (clip number, centre frame) of each.
      clips: {clip number: Clip} of those windows.
      centres: {name: sorted list of GT frames in the scratch}.
      kept: names of the clips whose records are copied from the outdated shard.
    """
    number: int
    windows: typing.List[typing.Tuple[int, int]]
    clips: typing.Dict[int, typing.Any]
    centres: typing.Dict[str, typing.List[int]]
    kept: typing.FrozenSet[str]


def raw_bytes(clip: Clip, num_frames: int) -> int:
    """Returns the bytes of one window of a clip, uncompressed."""
    return frame_bytes(clip.gt) + num_frames * frame_bytes(clip.lq)


def part_path(folder: str, index: int, job: Job) -> str:
    """Returns the path of the file beside a shard that describes it until the manifest exists."""
    return os.path.join(folder, shard_name(index, job['num_shards']) + '.json')


def finished(folder: str, index: int, job: Job) -> typing.Optional[typing.Dict[str, typing.Any]]:
    """Returns the description of a complete and current shard, else None."""
    part = _part(folder, index, job)
    if part is None or any(job['sources'].get(name) != mark for name, mark in part['sources'].items()):
        return None
    return part


def kept_clips(folder: str, index: int, job: Job) -> typing.FrozenSet[str]:
    """Returns the names of the clips whose records in an outdated shard are valid; none if the shard is damaged."""
    part = _part(folder, index, job)
    if part is None or not _is_valid(folder, Shard(**part['shard'])):
        return frozenset()
    return frozenset(name for name, mark in part['sources'].items() if job['sources'].get(name) == mark)


def _is_valid(folder, shard):
    crc, count = 0, 0
    for _, _, record, _ in shard_reader.walk(os.path.join(folder, shard.name)):
        if record is None:
            return False
        crc, count = zlib.crc32(record, crc), count + 1
    return (count, crc) == (shard.records, shard.crc)


def _part(folder, index, job):
    path = part_path(folder, index, job)
    if not files.exists(path):
        return None
    part = schema.read(path, _PART, _ADVICE)
    if part['shard']['name'] != shard_name(index, job['num_shards']):
        raise UserError('%s: shard.name is %r; it must be %r: %s'
                        % (path, part['shard']['name'], shard_name(index, job['num_shards']), _ADVICE))
    return part if files.size(os.path.join(folder, part['shard']['name'])) == part['shard']['bytes'] else None


def reopen(folder: str, job: Job, parts: typing.Sequence[np.ndarray]) -> None:
    """Converts a complete set to one with shards, their descriptions, and no manifest.

    Args:
      folder: of the set.
      job: of the set.
      parts: (clip number, centre frame) of each window of each shard, int [windows, 2] each.
    """
    names = [name for name, _ in job['clips']]
    for index, (shard, part) in enumerate(zip(Manifest.read(folder).shards, parts)):
        sources = {names[clip]: job['sources'][names[clip]] for clip in set(part[:, 0].tolist())}
        _write_part(folder, index, job, shard, sources)
    files.remove(os.path.join(folder, MANIFEST))


def _write_part(folder, index, job, shard, sources):
    files.write_json(part_path(folder, index, job), dict(shard=shard._asdict(), sources=sources))


def pack_shard(task: ShardTask, scratch: Scratch, folder: str, job: Job) -> None:
    """Writes one shard and the file that describes it.

    Args:
      task: the shard.
      scratch: has the decoded frames.
      folder: of the set.
      job: the result of `job.describe_job`; `clips`, `sources` and `shots` are not needed.
    """
    name = shard_name(task.number, job['num_shards'])
    path, crc, crcs = os.path.join(folder, name), 0, []
    old = shard_reader.walk(path) if task.kept else iter(())
    with files.atomic_path(path) as partial:
        with files.tensorflow().io.TFRecordWriter(partial) as writer:
            for number, centre in task.windows:
                clip, (_, _, record, _) = task.clips[number], next(old, (None,) * 4)
                if record is None or clip.name not in task.kept:
                    record = encode_window(clip, centre, task.centres, scratch, job)
                writer.write(record)
                crc = zlib.crc32(record, crc)
                crcs.append(record_format.header(record)['crc'])
                worker_pool.report(1, len(record))
        size = files.size(partial)
    _write_part(folder, task.number, job, Shard(name, len(task.windows), size or 0, crc, crcs),
                {clip.name: clip.mark for clip in task.clips.values()})


def encode_window(clip: Clip, centre: int, centres: typing.Dict[str, typing.List[int]], scratch: Scratch,
                  job: Job) -> bytes:
    """Returns the record of the window around a frame."""
    fill = 'replicate' if job['fill'] == NO_FILL else job['fill']   # without fill every window is inside the clip
    frames = windows.window_indices(centre, clip.length, stored_frames(job), fill, job['frame_interval'])
    window = record_format.Window(
        clip.name, centre, frames, clip.length, job['frame_interval'], job['scale'], scratch.read_lq(clip, frames),
        scratch.read_gt(clip, centre, centres.get(clip.name, ())))
    return record_format.encode(window, job['lq_tile'], job['gt_tile'])
