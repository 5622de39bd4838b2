"""Packs a set of shards: finds the clips, runs the workers, writes the manifest."""
import os

import numpy as np

from data_tools.base import files, worker_pool
from data_tools.base.errors import UserError
from data_tools.media import clips
from data_tools.packing import shard_writer
from data_tools.packing.job import check_lengths, describe_job, order, prepare_output
from data_tools.record.manifest import Manifest, Shard, shard_name


def pack_set(config):
    """Does what a PackConfig says, as far as that is not done yet.

    Raises:
      UserError: clips that cannot be packed, a folder that holds something else, shards missing for a merge.
    """
    found = clips.find_clips(config.data_dir, config.scale, need_lq=not config.make_lq,
                             clips=clips.parse_names(config.clips), exclude=clips.parse_names(config.exclude))
    job = describe_job(config, found)
    check_lengths(found, job)
    shards = range(job['num_shards'])
    wanted = _parse_range(config.shard_range, job['num_shards']) if config.shard_range else shards
    folder = config.output_dir
    if prepare_output(folder, job):
        print('%s is whole already: %d windows' % (folder, job['windows']))
        return
    if not config.merge_manifests:
        pack(config, found, job, wanted)
    parts = [shard_writer.finished(folder, index, job) for index in shards]
    missing = [shard_name(i, len(shards)) for i in shards if parts[i] is None]
    if missing and config.merge_manifests:
        raise UserError('%s lacks %d of %d shards: %s; pack them first, with --shard_range'
                        % (folder, len(missing), len(shards), ', '.join(missing[:8])))
    if missing:
        print('%d of %d shards done; when all are, run again with --merge_manifests'
              % (len(shards) - len(missing), len(shards)))
        return
    finish(folder, job, parts)


def _parse_range(text, count):
    first, colon, end = text.partition(':')
    if not (colon and first.isdigit() and end.isdigit() and int(first) < int(end) <= count):
        raise UserError('--shard_range=%s: it must be FIRST:END with 0 <= FIRST < END <= %d, the number of shards'
                        % (text, count))
    return range(int(first), int(end))


def pack(config, found, job, wanted):
    """Packs the shards `wanted` (numbers) that are not there yet."""
    folder = config.output_dir
    todo = [index for index in wanted if shard_writer.finished(folder, index, job) is None]
    if len(todo) < len(wanted):
        print('%d of %d shards are there already' % (len(wanted) - len(todo), len(wanted)))
    if not todo:
        return
    remove_partials(folder, todo, job)
    workers = config.workers or worker_pool.available_cores()
    context = 'spawn' if files.is_remote(folder) else 'fork'
    cache = shard_writer.cache_dir(config.scratch_dir, folder, wanted)
    files.make_dir(cache)
    worker_pool.run(shard_writer.cache_clip, [(clip, cache, job['scale'], job['make_lq']) for clip in found], workers,
                 'reading LQ', sum(clip.length for clip in found), ' frames', context)
    parts = np.array_split(order(job), job['num_shards'])
    tasks = [(index, parts[index].tolist(), found, cache, folder, job) for index in todo]
    total = sum(len(task[1]) for task in tasks)
    worker_pool.run(shard_writer.pack_shard, tasks, workers, 'packing', total, ' windows', context)
    files.remove(cache)


def remove_partials(folder, todo, job):
    """Removes what a killed run of ours has left; other hosts may be writing other shards just now."""
    ours = tuple(shard_name(index, job['num_shards']) for index in todo)
    for name in files.listing(folder):
        if name.endswith(files.PARTIAL) and name.startswith(ours):
            files.remove(os.path.join(folder, name))


def finish(folder, job, parts):
    """Writes the manifest and removes what was needed only while packing."""
    sizes = sorted({tuple(size) for part in parts for size in part['sizes']})
    manifest = Manifest(job['num_frames'], job['scale'], job['encoding'], job['lq_tile'], job['gt_tile'], sizes,
                                [Shard(**part['shard']) for part in parts], job)
    manifest.check_shards(folder)
    manifest.write(folder)
    for index in range(job['num_shards']):
        files.remove(shard_writer.part_path(folder, index, job))
    print('%s: %d windows in %d shards, %.2f GB, %s' % (folder, manifest.records, len(manifest.shards),
                                                       manifest.bytes / 1e9, job['encoding']))
