"""What a worker of make_tfrecords does: decode the LQ frames of a clip once, and write a shard."""
import os
import tempfile
import urllib.parse
import zlib

import numpy as np

from data_tools.base import files, worker_pool
from data_tools.base.errors import UserError
from data_tools.media import images, windows
from data_tools.media.degradation import make_lq
from data_tools.record import layout
from data_tools.record.manifest import Shard, shard_name


def raw_bytes(clip, num_frames, scale):
    """Bytes of one window of a clip, uncompressed."""
    height, width = images.image_size(clip.gt_paths[0])
    return 3 * height * width * (1 + num_frames / scale ** 2)


def cache_dir(scratch_dir, output_dir, wanted):
    """Folder for decoded LQ frames; each range of shards has its own, as hosts do not wait for each other."""
    if not scratch_dir and files.is_remote(output_dir):
        scratch_dir = os.path.join(tempfile.gettempdir(), 'make_tfrecords-%08x' % zlib.crc32(output_dir.encode()))
    return os.path.join(scratch_dir or output_dir, 'lq-frames-%d-%d' % (wanted[0], wanted[-1] + 1))


def cache_clip(clip, cache, scale, from_gt):
    """Decodes all LQ frames of a clip into `<cache>/<name>.npy`, uint8 [L, H, W, 3], unless they are there."""
    target = _cache_path(cache, clip)
    if os.path.exists(target):
        worker_pool.report(clip.length)
        return
    with files.atomic_path(target) as partial:
        cached = None
        for i, path in enumerate(clip.gt_paths if from_gt else clip.lq_paths):
            frame = images.read_image(path)
            frame = make_lq(frame, scale, path) if from_gt else frame
            if cached is None:
                cached = np.lib.format.open_memmap(partial, 'w+', np.uint8, (clip.length,) + frame.shape)
            if frame.shape != cached.shape[1:]:
                raise UserError('%s is %dx%d (height x width), the first frame of clip %s %dx%d'
                                % ((path,) + frame.shape[:2] + (clip.name,) + cached.shape[1:3]))
            cached[i] = frame
            worker_pool.report(1, os.path.getsize(path))
        cached.flush()
        del cached


def _cache_path(cache, clip):
    return os.path.join(cache, urllib.parse.quote(clip.name, safe='') + '.npy')


def part_path(folder, index, job):
    """File beside a shard that says what it holds, until the manifest does."""
    return os.path.join(folder, shard_name(index, job['num_shards']) + '.json')


def finished(folder, index, job):
    """What `pack_shard` told of a shard that is there and whole, else None."""
    path = part_path(folder, index, job)
    if not files.exists(path):
        return None
    part = files.read_json(path)
    return part if files.size(os.path.join(folder, part['shard']['name'])) == part['shard']['bytes'] else None


def pack_shard(index, part, found, cache, folder, job):
    """Writes one shard and the file that describes it.

    Args:
      index: number of the shard.
      part: list of (clip number, centre frame).
      found: all clips of the job.
      cache: folder where `cache_clip` has put the LQ frames.
      folder: output folder.
      job: see `make_tfrecords.describe_job`.
    """
    name = shard_name(index, job['num_shards'])
    path, crc, sizes = os.path.join(folder, name), 0, set()
    with files.atomic_path(path) as partial:
        with files.tensorflow().io.TFRecordWriter(partial) as writer:
            for clip_number, centre in part:
                window = read_window(found[clip_number], centre, cache, job)
                record = layout.encode(window, job['lq_tile'], job['gt_tile'])
                writer.write(record)
                crc = zlib.crc32(record, crc)
                sizes.add(window.lq.shape[1:3])
                worker_pool.report(1, len(record))
        size = files.size(partial)
    files.write_json(part_path(folder, index, job), dict(
        shard=Shard(name, len(part), size, crc)._asdict(), sizes=sorted(sizes)))


def read_window(clip, centre, cache, job):
    """The layout.Window around a frame. Raises UserError if GT does not fit LQ."""
    lq = np.load(_cache_path(cache, clip), mmap_mode='r')
    frames = windows.window_indices(centre, clip.length, job['num_frames'], job['fill'], job['frame_interval'])
    gt = images.read_image(clip.gt_paths[centre])
    expected = tuple(job['scale'] * side for side in lq.shape[1:3])
    if gt.shape[:2] != expected:
        raise UserError('%s is %dx%d (height x width); for LQ frames of %dx%d and scale %d it must be %dx%d'
                        % ((clip.gt_paths[centre],) + gt.shape[:2] + lq.shape[1:3] + (job['scale'],) + expected))
    return layout.Window(clip.name, centre, frames, clip.length, job['frame_interval'], job['scale'],
                          np.asarray(lq[frames]), gt)
