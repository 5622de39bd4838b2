"""The last step of packing: writes the manifest after all shards are complete."""
import os

from data_tools.base import files
from data_tools.packing import scratch, set_lock, shard_writer
from data_tools.record.manifest import MANIFEST, Manifest, Shard


def sizes_of(found):
    """The LQ sizes (height, width) of a list of Clip, sorted."""
    return sorted({tuple(clip.lq.size) for clip in found})


def parts_of(folder, job):
    """The description of each shard: list of dict, None for a missing shard; see `shard_writer.finished`."""
    return [shard_writer.finished(folder, index, job) for index in range(job['num_shards'])]


def is_finished(folder):
    """Whether the manifest exists."""
    return files.exists(os.path.join(folder, MANIFEST))


def finish(folder, sizes, job, parts):
    """Writes the manifest; `clean` or `tidy` then removes the files that only packing needs.

    Args:
      folder: str. sizes: see `sizes_of`. job: see `job.describe_job`. parts: see `parts_of`, without None.
    """
    described = {key: value for key, value in job.items() if key != 'sources'}
    manifest = Manifest(job['num_frames'], job['scale'], job['encoding'], job['lq_tile'], job['gt_tile'], sizes,
                        [Shard(**part['shard']) for part in parts], described)
    manifest.check_shards(folder)
    manifest.write(folder)


def clean(folder, job):
    """Removes the files that only packing needs, from a folder with a manifest."""
    for index in range(job['num_shards']):
        files.remove(shard_writer.part_path(folder, index, job))
    for name in files.listing(folder):
        # scratch of runs with other options or other ranges; partial shards of killed workers
        if name.startswith(scratch.PREFIX) or (name.startswith('shard-') and name.endswith(files.PARTIAL)):
            files.remove(os.path.join(folder, name))


def tidy(folder, job):
    """As `clean`; also removes the files that killed runs left. No other run may write to the folder."""
    clean(folder, job)
    if not files.is_remote(folder):   # a worker on another host may be writing the same manifest to a remote folder
        files.remove_partials(folder)
    set_lock.remove_left(folder)


def summary(folder):
    """A line that describes the set in a folder."""
    manifest = Manifest.read(folder)
    return '%s: %d windows in %d shards, %.2f GB, %s' % (folder, manifest.records, len(manifest.shards),
                                                        manifest.bytes / 1e9, manifest.encoding)
