"""Checks a set of shards against its manifest, and against its source frames."""
import collections
import hashlib
import os
import re
import struct
import typing
import zlib

import numpy as np

from data_tools.base import files
from data_tools.base.errors import UserError
from data_tools.base.progress import progress_bar
from data_tools.media import clips, ffmpeg
from data_tools.media.degradation import Degradation
from data_tools.media.deinterlacing import Deinterlacing
from data_tools.media.frames import Decoder, DegradedFrames
from data_tools.media.lmdb_source import LmdbFrames, is_lmdb
from data_tools.media.shots import ShotRule
from data_tools.media.video_scan import Scanner
from data_tools.record import record_format, shard_reader
from data_tools.record.job_windows import centres
from data_tools.record.manifest import Manifest, Shard


def check_set(folder: str, deep: bool = False, source: str = '',
              report: typing.Callable[[str], typing.Any] = print, lq_folder: str = '') -> int:
    """Checks a set of shards.

    Args:
      folder: of the set.
      deep: decode every record.
      source: folder with the source clips, to compare every pixel; '' for no comparison.
      report: takes the text of each problem.
      lq_folder: folder with the LQ; '' takes that of the manifest, which must be inside of the source.
    Returns:
      The number of problems.
    Raises:
      UserError: the manifest is missing, the source cannot be read, or the manifest names LQ outside of it.
    """
    manifest = Manifest.read(folder)
    found = _source_clips(folder, manifest, source, lq_folder) if source else None
    seen: typing.Set[typing.Tuple[str, int]] = set()
    problems = 0
    with progress_bar(total=manifest.records, unit=' records', desc='checking') as bar:
        for shard in manifest.shards:
            for text in check_shard(folder, shard, manifest, deep or found is not None, found, seen, bar.update):
                problems += 1
                report(text)
    if not problems:
        for text in missing_windows(manifest, seen):
            problems += 1
            report(text)
    if problems:
        print('%s: %d problems' % (folder, problems))
    else:
        print('%s: %d windows in %d shards are valid%s' % (
            folder, manifest.records, len(manifest.shards),
            ' and equal their source' if found else ', all decoded' if deep else ''))
    return problems


def _lq_folder(folder, manifest, source):
    """Returns the folder of LQ that the manifest names; what comes with a set names no files outside of the source."""
    named = manifest.job.get('lq_folder', '')
    path = named if is_lmdb(source) else os.path.join(source, named)
    if named and os.path.relpath(os.path.realpath(path), os.path.realpath(source)).split(os.sep)[0] == os.pardir:
        raise UserError('the LQ of %s was taken from %s, which is not inside of --source=%s: give --lq_folder=%s to '
                        'compare with it' % (folder, named, source, named))
    return named


def _source_clips(folder, manifest, source, lq_folder):
    """Returns {name: SourceClip} of the source clips of the set."""
    job, made = manifest.job, Degradation.from_job(manifest.job)
    if made and not made.is_repeatable:
        raise UserError('the LQ of %s is %s, which this version does not make again: check without --source, or pack '
                        'the set again' % (folder, made.describe()))
    shots = {name: tuple((first, end) for first, end in pairs) for name, pairs in job.get('shots', {}).items()}
    versions, names = job.get('versions', 1), {name for name, _ in job['clips']}
    packed = [name for name, _ in job['clips'] if versions == 1 or clips.VERSION % (name, 1) in names]
    wholes = dict.fromkeys(re.sub(r'_shot\d+$', '', name) if name not in shots and
                           re.sub(r'_shot\d+$', '', name) in shots else name for name in packed)
    if not (made or lq_folder):
        lq_folder = _lq_folder(folder, manifest, source)
    found = clips.find_clips(source, manifest.scale, clips=list(wholes), lq_folder=lq_folder, degradation=made,
                             shots=ShotRule(False, given=shots),
                             scanner=Scanner(deinterlacing=Deinterlacing.from_job(job), combed=True))
    if job.get('ffmpeg') not in (None, ffmpeg.version()):
        print('note: packed with ffmpeg %s, compared with ffmpeg %s: pixels of videos may differ'
              % (job['ffmpeg'], ffmpeg.version()))
    found = [version for clip in found if clip.name in set(packed) for version in clips.versions_of(clip, versions)]
    with progress_bar(total=sum(clip.length for clip in found), unit=' frames', desc='reading the source') as bar:
        return {source.clip.name: source for source in read_source(found, bar.update)}


class SourceClip(typing.NamedTuple):
    """A clip and the digests of all its frames.

    Frames are read once and in order, but records are in any order.
    """
    clip: clips.Clip
    lq: typing.List[bytes]
    gt: typing.List[bytes]


def read_source(found: typing.Sequence[clips.Clip],
                progress: typing.Callable[[int], typing.Any] = lambda count: None) -> typing.Iterator[SourceClip]:
    """Yields a SourceClip for each Clip; calls `progress` with the number of frames read."""
    for group in clips.groups(found):
        with Decoder() as gt_decoder, Decoder() as lq_decoder:
            for clip in group:
                gt: typing.List[bytes] = []
                lq: typing.List[bytes] = []
                frames = _digested(_present(gt_decoder, clip.gt), gt, progress)
                made = isinstance(clip.lq, DegradedFrames)
                # LQ is made from the frames that `_digested` passes on
                for frame in clip.lq.made_from(frames) if made else lq_decoder.read(clip.lq):
                    lq.append(digest(frame))
                collections.deque(frames, 0)   # read the remaining frames
                yield SourceClip(clip, lq, gt)


def _present(decoder, frames):
    """Yields frames, None for each that an LMDB lacks (that of Vimeo-90K has one frame of seven)."""
    if isinstance(frames, LmdbFrames):
        return (frames.frame(index) if key else None for index, key in enumerate(frames.keys))
    return decoder.read(frames)


def _digested(frames, digests, progress):
    for frame in frames:
        digests.append(b'' if frame is None else digest(frame))
        progress(1)
        yield frame


def digest(frame: np.ndarray) -> bytes:
    """Returns the digest of a frame; frames that differ in a pixel or in size have different digests."""
    return hashlib.sha1(np.ascontiguousarray(frame)).digest()[:12] + struct.pack('<II', *frame.shape[:2])


def check_shard(folder: str, shard: Shard, manifest: Manifest, deep: bool,
                found: typing.Optional[typing.Dict[str, SourceClip]], seen: typing.Set[typing.Tuple[str, int]],
                progress: typing.Callable[[int], typing.Any]) -> typing.Iterator[str]:
    """Yields the text of each problem of a shard.

    Args:
      folder: of the set.
      shard: its description.
      manifest: of the set.
      deep: decode the records.
      found: {name: SourceClip} to compare with, or None.
      seen: receives (clip, centre) of every valid record.
      progress: takes the number of checked records.
    """
    path = os.path.join(folder, shard.name)
    size = files.size(path)
    if size is None:
        yield '%s is missing' % path
        progress(shard.records)
        return
    if size != shard.bytes:
        yield '%s has %d bytes, the manifest says %d' % (path, size, shard.bytes)
    count, crc, valid = 0, 0, True
    for index, _, record, error in shard_reader.walk(path):
        count = index + 1
        progress(1)
        text = str(error) if error else _check_record(record, manifest, shard, index, deep, found, seen)
        if record is not None:
            crc = zlib.crc32(record, crc)
        if text:
            valid = False
            yield 'record %d of %s: %s' % (index, path, text)
    if count != shard.records:
        yield '%s has %d records, the manifest says %d' % (path, count, shard.records)
    elif valid and crc != shard.crc:
        yield '%s has valid records, but not those that the manifest describes (checksum)' % path


def _check_record(record, manifest, shard, index, deep, found, seen):
    """Returns the problem of a record with a correct checksum, or None."""
    values = record_format.header(record)
    problem = manifest.mismatch(shard, index, values)
    if problem:
        return problem
    name = record_format.clip_name(record)
    if (name, values['index']) in seen:
        return 'clip %s, frame %d occurs twice' % (name, values['index'])
    seen.add((name, values['index']))
    if not deep:
        return None
    try:
        window = record_format.decode(record)
    except record_format.RecordError as error:
        return str(error)
    return _compare(window, found) if found is not None else None


def _compare(window, found):
    where = 'clip %s, frame %d: ' % (window.clip, window.centre)
    source = found.get(window.clip)
    if source is None:
        return where + 'the source has no such clip'
    if source.clip.length != window.length:
        return where + 'the clip had %d frames when packed and has %d now' % (window.length, source.clip.length)
    if source.gt[window.centre] != digest(window.gt):
        return where + 'GT differs from %s' % source.clip.gt.label(window.centre)
    for frame, lq in zip(window.frames, window.lq):
        if source.lq[frame] != digest(lq):
            return where + 'LQ differs from %s' % source.clip.lq.label(frame)
    return None


def missing_windows(manifest: Manifest, seen: typing.Set[typing.Tuple[str, int]]) -> typing.Iterator[str]:
    """Yields the text of a problem for each clip with missing windows."""
    for name, length in manifest.job['clips']:
        expected = centres(length, manifest.job)
        lacking = [index for index in expected if (name, index) not in seen]
        if lacking:
            yield 'clip %s lacks %d of %d windows, the first at frame %d' % (name, len(lacking), len(expected),
                                                                            lacking[0])
