"""The last step of packing: writes the manifest after all shards are complete."""
import os
from typing import Any, Dict, List, Optional, Sequence, Tuple

from data_tools.base import files
from data_tools.media.clips import Clip
from data_tools.media.degradation import Degradation
from data_tools.packing import scratch, set_lock, shard_writer
from data_tools.record.manifest import MANIFEST, Manifest, Shard


def sizes_of(found: Sequence[Clip]) -> List[Tuple[int, int]]:
    """Returns the LQ sizes (height, width) of clips, sorted."""
    return sorted({(height, width) for height, width in (clip.lq.size for clip in found)})


def parts_of(folder: str, job: Dict[str, Any]) -> List[Optional[Dict[str, Any]]]:
    """Returns the description of each shard, None for a missing or outdated one."""
    return [shard_writer.finished(folder, index, job) for index in range(job['num_shards'])]


def is_finished(folder: str) -> bool:
    """Returns whether the manifest exists."""
    return files.exists(os.path.join(folder, MANIFEST))


def finish(folder: str, sizes: List[Tuple[int, int]], job: Dict[str, Any],
           parts: Sequence[Optional[Dict[str, Any]]]) -> None:
    """Writes the manifest; `clean` or `tidy` then removes the files that only packing needs.

    Args:
      folder: of the set.
      sizes: (height, width) of the LQ frames of all clips.
      job: the result of `job.describe_job`.
      parts: the result of `parts_of`, without None.
    """
    described = {key: value for key, value in job.items() if key != 'sources'}
    manifest = Manifest(job['num_frames'], job['scale'], job['encoding'], job['lq_tile'], job['gt_tile'], sizes,
                        [Shard(**part['shard']) for part in parts if part], described)
    manifest.check_shards(folder)
    manifest.write(folder)


def clean(folder: str, job: Dict[str, Any]) -> None:
    """Removes the files that only packing needs, from a folder with a manifest."""
    for index in range(job['num_shards']):
        files.remove(shard_writer.part_path(folder, index, job))
    for name in files.listing(folder):
        # scratch of runs with other options or other ranges; partial shards of killed workers
        if name.startswith(scratch.PREFIX) or (name.startswith('shard-') and name.endswith(files.PARTIAL)):
            files.remove(os.path.join(folder, name))


def tidy(folder: str, job: Dict[str, Any]) -> None:
    """Removes what `clean` does, and the files that killed runs left. No other run may write to the folder."""
    clean(folder, job)
    if not files.is_remote(folder):   # a worker on another host may be writing the same manifest to a remote folder
        files.remove_partials(folder)
    set_lock.remove_left(folder)


def summary(folder: str) -> str:
    """Returns a line that describes the set in a folder."""
    manifest = Manifest.read(folder)
    made = Degradation.from_job(manifest.job)
    return '%s: %d windows in %d shards, %.2f GB, %s%s' % (
        folder, manifest.records, len(manifest.shards), manifest.bytes / 1e9, manifest.encoding,
        ', LQ %s' % made.describe() if made else '')
