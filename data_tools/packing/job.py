"""A packing job: what decides the bytes of the shards, and which shards are done."""
import hashlib
import os

import numpy as np

from data_tools.base import files
from data_tools.base.errors import UserError
from data_tools.packing import shard_writer
from data_tools.packing.config import SHARD_MB
from data_tools.record import layout
from data_tools.record.manifest import MANIFEST, Manifest

JOB = 'job.json'


def describe_job(config, found):
    """All that decides what the shards hold, as a dict for JSON; two runs with equal jobs write equal bytes."""
    lq_tile, gt_tile = layout.TILES[config.encoding]
    if config.encoding == 'tiles':
        lq_tile = lq_tile if config.lq_tile is None else config.lq_tile
        gt_tile = gt_tile if config.gt_tile is None else config.gt_tile
    total = sum(clip.length for clip in found)
    num_shards = config.num_shards
    if num_shards is None:
        raw_bytes = sum(clip.length * shard_writer.raw_bytes(clip, config.num_frames, config.scale) for clip in found)
        share = 1 if config.encoding == 'raw' else 0.5
        num_shards = min(max(16, int(raw_bytes * share / (SHARD_MB * 1e6))), total, 99999)
    if num_shards > total:
        raise UserError('--num_shards=%d is more than the %d windows there are' % (num_shards, total))
    return dict(format_version=layout.FORMAT_VERSION, num_frames=config.num_frames, scale=config.scale,
                encoding=config.encoding, lq_tile=lq_tile, gt_tile=gt_tile, fill=config.fill,
                frame_interval=config.frame_interval, make_lq=config.make_lq, seed=config.seed, num_shards=num_shards,
                windows=total, clips=[[clip.name, clip.length] for clip in found], source=_fingerprint(found))


def _fingerprint(found):
    """Changes when a source file is replaced: a stopped run must not go on with other frames."""
    digest = hashlib.sha1()
    for clip in found:
        for path in clip.lq_paths + clip.gt_paths:
            digest.update(('%s %s %d\n' % (clip.name, os.path.basename(path), os.path.getsize(path))).encode())
    return digest.hexdigest()


def check_lengths(found, job):
    need = (job['num_frames'] - 1) * job['frame_interval'] + 1
    short = ['%s (%d)' % (clip.name, clip.length) for clip in found if clip.length < need]
    if short:
        raise UserError('clips with fewer frames than the %d that a window of num_frames=%d, frame_interval=%d spans: '
                        '%s; leave them out with --exclude, or choose a shorter window'
                        % (need, job['num_frames'], job['frame_interval'], ', '.join(short)))


def prepare_output(folder, job):
    """Makes the folder ready. Returns whether the set is whole already.

    Raises:
      UserError: the folder holds something else than this very job.
    """
    files.make_dir(folder)
    names = files.listing(folder)
    if JOB not in names:
        others = [name for name in names if not name.endswith(files.PARTIAL)]
        if others:
            raise UserError('%s is not empty (%s ...): choose a new folder, or empty it' % (folder, others[0]))
        files.write_json(os.path.join(folder, JOB), job)
        return False
    old = files.read_json(os.path.join(folder, JOB))
    if old != job:
        changed = sorted(key for key in set(old) | set(job) if old.get(key) != job.get(key))
        told = ['%s (%r then, %r now)' % (key, old.get(key), job.get(key)) if key not in ('clips', 'source') else key
                for key in changed]
        raise UserError('%s holds another job; different: %s. Give the same options to go on with it, or choose a new '
                        'folder' % (folder, ', '.join(told)))
    if MANIFEST not in names:
        return False
    Manifest.read(folder).check_shards(folder)
    return True


def order(job):
    """(clip number, centre frame) of every window, shuffled; int array [windows, 2]."""
    lengths = [length for _, length in job['clips']]
    every = np.concatenate([np.stack([np.full(length, clip), np.arange(length)], 1)
                            for clip, length in enumerate(lengths)])
    return every[np.random.RandomState(job['seed'] & 0xffffffff).permutation(len(every))]
