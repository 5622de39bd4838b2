"""A packing job: the options and sources that determine the bytes of the shards, and the state of its folder."""
import os
from typing import Any, Dict, List, Sequence

import numpy as np

from data_tools.base import files, schema
from data_tools.base.errors import UserError
from data_tools.media import ffmpeg
from data_tools.media.clips import Clip
from data_tools.media.degradation import Degradation
from data_tools.media.frames import DegradedFrames, VideoFrames
from data_tools.packing import set_lock, shard_writer
from data_tools.packing.config import SHARD_MB, PackConfig
from data_tools.record import record_format
from data_tools.record.job_windows import centres, span, stored_frames
from data_tools.record.manifest import MANIFEST, Manifest
from data_tools.record.manifest_schema import JOB_SCHEMA

JOB = 'job.json'
VIDEOS = 'videos.json'   # facts of the source videos, see video_scan
_LONG = ('clips', 'sources', 'shots')   # keys whose values are too long for a message


def describe_job(config: PackConfig, found: Sequence[Clip], shots: Dict[str, List[List[int]]]) -> Dict[str, Any]:
    """Returns all that determines the shards, for JSON. Runs with equal jobs write equal bytes.

    Args:
      config: with its defaults resolved.
      found: the clips with their marks.
      shots: {name: [[first, end], ...]} of the clips that were split.
    """
    lq_tile, gt_tile = record_format.TILES[config.encoding]
    if config.encoding == 'tiles':
        lq_tile = lq_tile if config.lq_tile is None else config.lq_tile
        gt_tile = gt_tile if config.gt_tile is None else config.gt_tile
    degradation = Degradation.if_wanted(config, config.scale, config.seed)
    job = dict(format_version=record_format.FORMAT_VERSION, num_frames=config.num_frames, scale=config.scale,
               encoding=config.encoding, lq_tile=lq_tile, gt_tile=gt_tile, fill=config.fill,
               frame_interval=config.frame_interval, make_lq=config.make_lq, seed=config.seed,
               degradation=degradation and degradation.to_job(), lq_folder=config.lq_folder, shots=shots,
               ffmpeg=ffmpeg.version() if any(_uses_ffmpeg(clip) for clip in found) else None,
               clips=[[clip.name, clip.length] for clip in found],
               sources={clip.name: clip.mark for clip in found})
    if config.reach > 1:   # jobs of earlier versions lack it
        job['reach'] = config.reach
    if config.versions > 1:
        job['versions'] = config.versions
    if config.deinterlace:
        job['deinterlace'] = list(config.deinterlacing)
    check_lengths(found, job)
    counts = [len(centres(clip.length, job)) for clip in found]
    job['windows'] = total = sum(counts)
    num_shards = config.num_shards
    if num_shards is None:
        raw_bytes = sum(count * shard_writer.raw_bytes(clip, stored_frames(job)) for count, clip in zip(counts, found))
        share = 1 if config.encoding == 'raw' else 0.5
        num_shards = min(max(16, int(raw_bytes * share / (SHARD_MB * 1e6))), total, 99999)
    if num_shards > total:
        raise UserError('--num_shards=%d is more than the number of windows, %d: give at most %d'
                        % (num_shards, total, total))
    job['num_shards'] = num_shards
    return job


def _uses_ffmpeg(clip):
    return (isinstance(clip.gt, VideoFrames) or isinstance(clip.lq, VideoFrames)
            or (isinstance(clip.lq, DegradedFrames) and clip.lq.degradation.needs_whole_clip))


def check_lengths(found: Sequence[Clip], job: Dict[str, Any]) -> None:
    """Raises UserError for clips that are shorter than a window."""
    need = span(job)
    short = ['%s (%d)' % (clip.name, clip.length) for clip in found if clip.length < need]
    if short:
        raise UserError('a window of num_frames=%d, frame_interval=%d%s spans %d frames, but these clips have fewer: '
                        '%s; exclude them with --exclude, or choose a shorter window'
                        % (job['num_frames'], job['frame_interval'],
                           ', reach=%d' % job['reach'] if 'reach' in job else '', need, ', '.join(short)))


def refuse_foreign(folder: str) -> None:
    """Raises UserError if a folder holds something other than a set of shards."""
    names = files.listing(folder)
    others = [name for name in names if not name.endswith(files.PARTIAL) and name != VIDEOS
              and not set_lock.is_lock(name)]
    if others and JOB not in names:
        raise UserError('%s is not empty (%s ...): choose a new folder, or empty it' % (folder, others[0]))


def prepare_output(folder: str, job: Dict[str, Any], update: bool = False, shared: bool = False) -> bool:
    """Prepares the folder. Returns whether the set is complete.

    A clip whose source has changed since the job began does not change the job: the shards that hold the clip are
    outdated, see `shard_writer.finished`. With `shared`, other runs are packing other shards of the folder.

    Raises:
      UserError: the folder holds something other than this job; the set is complete, but its source has changed and
        `update` is False.
    """
    refuse_foreign(folder)
    files.make_dir(folder)
    names = files.listing(folder)
    path = os.path.join(folder, JOB)
    if JOB not in names or not (shared or any(name.startswith('shard-') for name in names)):
        files.remove(os.path.join(folder, MANIFEST))   # its shards were removed
        files.write_json(path, job)   # a job without any shard may change its options
        return False
    old = schema.read(path, JOB_SCHEMA, 'the file was cut or edited: restore it, or choose a new folder')
    _check_same_job(folder, old, job)
    changed = sorted(name for name, mark in job['sources'].items() if old['sources'].get(name) != mark)
    if changed and MANIFEST in names:
        if not update:
            raise UserError('%s is complete, but the source of %d clips has changed since: %s; --update packs them '
                            'again' % (folder, len(changed), ', '.join(changed[:8])))
        shard_writer.reopen(folder, old, order_in_shards(old))
    if changed:
        print('the source of %d clips has changed since they were packed; they are packed again: %s'
              % (len(changed), ', '.join(changed[:8])))
        files.write_json(path, job)
        return False
    if MANIFEST not in names:
        return False
    Manifest.read(folder).check_shards(folder)
    return True


def _check_same_job(folder, old, job):
    changed = sorted(key for key in set(old) | set(job) if key != 'sources' and old.get(key) != job.get(key))
    if 'sources' not in old or changed:
        names = ['%s (was %r, is %r)' % (key, old.get(key), job.get(key)) if key not in _LONG else key
                 for key in changed]
        kept = ''
        if 'degradation' in changed and 'resize' in (job.get('degradation') or {}):
            kept = ' (--lq_resize=pillow makes the LQ of version 1.0)'
        raise UserError('%s holds another job; different: %s. Give the same options to continue it%s, or choose a new '
                        'folder' % (folder, ', '.join(names), kept))


def order(job: Dict[str, Any]) -> np.ndarray:
    """Returns (clip number, centre frame) of every window, shuffled: int [windows, 2]."""
    lengths = [length for _, length in job['clips']]
    every = np.concatenate([np.stack([np.full(len(frames), clip), np.asarray(frames)], 1) for clip, frames in
                            enumerate(centres(length, job) for length in lengths)])
    return every[np.random.RandomState(job['seed'] & 0xffffffff).permutation(len(every))]


def order_in_shards(job: Dict[str, Any]) -> List[np.ndarray]:
    """Cuts `order` into shards: int [windows of the shard, 2] of each."""
    return np.array_split(order(job), job['num_shards'])
