"""Packs a set of shards: finds the clips, runs the workers, writes the manifest."""
import os
import shutil
from typing import Any, Dict, List, Sequence, Tuple

from data_tools.base import beam_options, files, worker_pool
from data_tools.base.errors import UserError
from data_tools.base.progress import progress_bar
from data_tools.media import clips
from data_tools.media.degradation import Degradation
from data_tools.media.frames import VideoFrames
from data_tools.media.shots import ShotRule
from data_tools.media.video_scan import Scanner
from data_tools.packing import finishing, set_lock, shard_writer
from data_tools.packing import scratch as scratch_files
from data_tools.packing import tasks as task_list
from data_tools.packing.config import PackConfig
from data_tools.packing.defaults import resolve_defaults
from data_tools.packing.job import VIDEOS, describe_job, prepare_output, refuse_foreign
from data_tools.packing.scratch import Scratch
from data_tools.packing.shard_writer import ShardTask
from data_tools.record.job_windows import span, stored_frames
from data_tools.record.manifest import shard_name


def pack_set(config: PackConfig) -> None:
    """Packs a set, except the shards that are complete.

    Raises:
      UserError: clips cannot be packed, the folder holds something else, another run packs the same shards, shards
        are missing for a merge, the disk has too little space, or the source changes during the run.
    """
    refuse_foreign(config.output_dir)
    config, notes = resolve_defaults(config)
    for note in notes:
        print(note, flush=True)
    if config.runner:
        config = _for_other_hosts(config)
    found, shots = find_source(config)
    job = describe_job(config, found, shots)
    shards = range(job['num_shards'])
    wanted = _parse_range(config.shard_range, job['num_shards']) if config.shard_range else shards
    folder = config.output_dir
    wanted = shards if config.merge_manifests else wanted
    with set_lock.of_shards(folder, wanted):
        shared = bool(set_lock.others(folder, wanted))
        if prepare_output(folder, job, config.update, shared):
            if not shared:
                finishing.tidy(folder, job)
            print('%s is already complete: %d windows' % (folder, job['windows']))
            return
        if not config.merge_manifests:
            pack(config, found, job, wanted)
        _finish_if_complete(config, found, job, wanted)


def _finish_if_complete(config, found, job, wanted):
    """Writes the manifest if all shards exist and no other run packs shards; prints the state of the folder."""
    folder, shards = config.output_dir, range(job['num_shards'])
    if not finishing.is_finished(folder):   # else the last step of a pipeline has written the manifest
        parts = finishing.parts_of(folder, job)
        missing = [shard_name(i, len(shards)) for i in shards if parts[i] is None]
        if missing and config.merge_manifests:
            raise UserError('%s lacks %d of %d shards: %s; pack them first, with --shard_range'
                            % (folder, len(missing), len(shards), ', '.join(missing[:8])))
        if missing or set_lock.others(folder, wanted):   # the last run finishes the set
            print('%d of %d shards are done; when all are, run again with --merge_manifests'
                  % (len(shards) - len(missing), len(shards)))
            return
        finishing.finish(folder, finishing.sizes_of(found), job, parts)
    finishing.tidy(folder, job)
    print(finishing.summary(folder))


def find_source(config: PackConfig) -> Tuple[List[clips.Clip], Dict[str, List[List[int]]]]:
    """Returns the clips that a config with its defaults names, and {name: shots} of the clips that were split."""
    rule = ShotRule.from_config(config)
    scanner = Scanner(os.path.join(config.output_dir, VIDEOS), config.allow_damaged,
                      deinterlacing=config.deinterlacing)
    found = clips.find_clips(config.data_dir, config.scale, clips=clips.parse_names(config.clips),
                             exclude=clips.parse_names(config.exclude), part='train', lq_folder=config.lq_folder,
                             degradation=Degradation.if_wanted(config, config.scale, config.seed), shots=rule,
                             scanner=scanner)
    clips.check_text(clip.name for clip in found)
    deep = sorted({clip.whole for clip in found if isinstance(clip.gt, VideoFrames) and clip.gt.info.bits > 8})
    if deep and config.make_lq and config.degradation == 'realistic':
        raise UserError('--degradation=realistic works on 8 bits a channel; these videos have more: %s; convert them '
                        'first, or choose another degradation' % ', '.join(deep[:8]))
    if deep:
        print('note: %d videos have more than 8 bits a channel and are packed with 8: %s'
              % (len(deep), ', '.join(deep[:8])))
    shots: Dict[str, List[List[int]]] = {}
    for clip in found:
        if clip.name != clip.whole or clip.whole in rule.given or isinstance(clip.main, VideoFrames):
            shots.setdefault(clip.whole, []).append([clip.first, clip.first + clip.length])
    found = _without_short_shots(found, span(config.to_dict()))
    found = [version for clip in found for version in clips.versions_of(clip, config.versions)]
    _check_unique(found)
    return [clip._replace(mark=clip.fingerprint())
            for clip in progress_bar(found, unit=' clips', desc='fingerprints', delay=2)], shots


def _without_short_shots(found, need):
    """Removes shots with fewer frames than a window, and prints their names."""
    short = [clip for clip in found if clip.length < need and clip.name != clip.whole]
    if short:
        print('note: %d shots are left out, because they have fewer frames than a window (%d): %s'
              % (len(short), need, ', '.join('%s (%d)' % (clip.name, clip.length) for clip in short[:8])
                 + (', ...' if len(short) > 8 else '')))
    if len(short) == len(found):
        raise UserError('all %d shots have fewer frames than a window (%d): choose a shorter window, or '
                        '--nosplit_shots' % (len(found), need))
    return [clip for clip in found if clip.length >= need or clip.name == clip.whole]


def _check_unique(found):
    """Raises UserError if two clips have one name: `a_shot000`, a video, is also the first shot of `a`."""
    known: Dict[str, clips.Clip] = {}
    for clip in found:
        other = known.setdefault(clip.name, clip)
        if other is not clip:
            raise UserError('the name %s belongs to two clips: %s; rename one of the sources, or leave it out with '
                            '--exclude' % (clip.name, ' and '.join('%s, frames %d to %d' % (
                                each.main.path, each.first, each.first + each.length - 1) for each in (other, clip))))


def _parse_range(text, count):
    first, colon, end = text.partition(':')
    if not (colon and first.isdigit() and end.isdigit() and int(first) < int(end) <= count):
        raise UserError('--shard_range=%s: it must be FIRST:END with 0 <= FIRST < END <= %d, the number of shards'
                        % (text, count))
    return range(int(first), int(end))


def pack(config: PackConfig, found: List[clips.Clip], job: Dict[str, Any], wanted: range) -> None:
    """Packs those shards of `wanted` (numbers) that are not complete."""
    folder = config.output_dir
    todo = [index for index in wanted if shard_writer.finished(folder, index, job) is None]
    if len(todo) < len(wanted):
        print('%d of %d shards exist already' % (len(wanted) - len(todo), len(wanted)))
    if not todo:
        return
    remove_partials(folder, todo, job)
    scratch = Scratch(config.scratch_dir, folder, wanted, job)
    files.make_dir(scratch.folder)
    files.remove_partials(scratch.folder)
    tasks = task_list.shard_tasks(found, job, folder, todo)
    runner = _Runner(config, job, folder, scratch)
    parts = task_list.rounds(tasks, runner.gt_room(tasks))
    if config.runner:
        _pack_with_beam(config, found, job, scratch, parts)
    else:
        for some in parts:
            runner.run(some)
    scratch.remove()
    check_unchanged(tasks)


def check_unchanged(tasks: Sequence[ShardTask]) -> None:
    """Raises UserError if files of the packed clips have changed since the run began.

    The descriptions of the shards hold the fingerprints of the old files, so the next run packs these clips again.
    """
    found = {clip.name: clip for clip in task_list.clips_to_decode(tasks).values()}
    changed = sorted(name for name, clip in found.items() if clip.fingerprint() != clip.mark)
    if changed:
        raise UserError('the source of %d clips has changed while they were packed: %s; run the same command again; '
                        'it packs only these clips' % (len(changed), ', '.join(changed[:8])))


def _for_other_hosts(config):
    """Returns the config with absolute paths. Raises UserError if Beam cannot run it."""
    beam_options.parse(config)
    return config.replace(**{name: beam_options.absolute(getattr(config, name))
                             for name in ('data_dir', 'output_dir', 'scratch_dir')})


def _pack_with_beam(config, found, job, scratch, parts):
    """Packs the lists of tasks `parts`, and writes the manifest."""
    from data_tools.packing import beam_pool  # needs Beam
    planned = []
    for tasks in parts:
        centres = task_list.centres_of(tasks)
        groups = clips.groups(task_list.clips_to_decode(tasks).values())
        tasks = task_list.with_centres(tasks, centres)
        planned.append(beam_pool.Round(tasks, groups, centres, scratch, config.output_dir, job))
    beam_pool.run(config, planned, finishing.sizes_of(found), job)


class _Runner:
    """Decodes clips and writes shards, in worker processes."""

    def __init__(self, config: PackConfig, job: Dict[str, Any], folder: str, scratch: Scratch) -> None:
        # sent to the workers with every task
        self._job = {key: value for key, value in job.items() if key not in ('clips', 'sources', 'shots')}
        self._folder, self._scratch = folder, scratch
        self._workers = config.workers or worker_pool.available_cores()
        self._context = 'spawn' if files.is_remote(folder) else 'fork'
        self._limit = config.scratch_gb * 1e9
        # the free space of a scratch on the disks of other hosts is unknown
        self._elsewhere = bool(config.runner) and (bool(config.scratch_dir) or files.is_remote(folder))

    def gt_room(self, tasks: Sequence[ShardTask]) -> float:
        """Returns the bytes that GT frames may take in the scratch at the same time.

        Raises:
          UserError: LQ frames, the GT frames of one shard and, if on the same disk, the shards do not fit.
        """
        lq = sum(clip.length * scratch_files.frame_bytes(clip.lq) for clip in task_list.clips_to_decode(tasks).values()
                 if self._scratch.missing(clip, ())[0])
        gt, most = sum(map(task_list.gt_bytes, tasks)), max(map(task_list.gt_bytes, tasks))
        free = float('inf') if self._elsewhere else shutil.disk_usage(self._scratch.folder).free
        allowed, shards = min(self._limit or free, free), self._bytes_of_shards(tasks)
        # the size of tiles is known only after packing: no space is required for them, but `room` below leaves some
        certain = shards if self._job['encoding'] == 'raw' else 0
        if allowed < lq + most or free < lq + most + certain:
            raise UserError('decoded frames need at least %.2f GB in %s (%.2f GB for LQ, %.2f GB for GT of videos)%s; '
                            '%.2f GB are free%s: free some space, give a folder on a larger disk with --scratch_dir, '
                            'or pack in parts with --shard_range'
                            % ((lq + most) / 1e9, self._scratch.folder, lq / 1e9, most / 1e9,
                               ', and the shards %.2f GB on the same disk' % (certain / 1e9) if certain else '',
                               free / 1e9, ', --scratch_gb allows %.2f' % (allowed / 1e9) if allowed < free else ''))
        room = max(min(allowed, free - shards) - lq, most)
        if gt:
            print('scratch: %.2f GB of LQ and %.2f GB of GT in %s%s'
                  % (lq / 1e9, gt / 1e9, self._scratch.folder,
                     '' if gt <= room else ', GT %.2f GB at a time' % (room / 1e9)))
        return room

    def _bytes_of_shards(self, tasks):
        """Estimates the bytes of the shards on the disk of the scratch; 0 if they are on another disk."""
        if files.is_remote(self._folder) or self._elsewhere or not _same_disk(self._folder, self._scratch.folder):
            return 0
        share = 1 if self._job['encoding'] == 'raw' else 0.5
        return share * sum(shard_writer.raw_bytes(task.clips[number], stored_frames(self._job))
                           for task in tasks for number, _ in task.windows)

    def run(self, tasks: Sequence[ShardTask]) -> None:
        """Decodes the frames that the tasks need, and writes their shards."""
        centres = task_list.centres_of(tasks)
        missing = [clip for clip in task_list.clips_to_decode(tasks).values()
                   if any(self._scratch.missing(clip, centres.get(clip.name, ())))]
        decoding = [(group, {clip.name: centres[clip.name] for clip in group if clip.name in centres}, self._scratch)
                    for group in clips.groups(missing)]
        worker_pool.run(scratch_files.decode_clips, decoding, self._workers, 'decoding',
                        sum(clip.length for clip in missing), ' frames', self._context)
        packing = [(task, self._scratch, self._folder, self._job) for task in task_list.with_centres(tasks, centres)]
        worker_pool.run(shard_writer.pack_shard, packing, self._workers, 'packing',
                        sum(len(task.windows) for task in tasks), ' windows', self._context)
        self._scratch.forget_gt({})


def _same_disk(*folders):
    return len({os.stat(folder).st_dev for folder in folders}) == 1


def remove_partials(folder: str, todo: Sequence[int], job: Dict[str, Any]) -> None:
    """Removes partial files of the shards `todo` that a killed run left; other hosts may be writing other shards."""
    ours = tuple(shard_name(index, job['num_shards']) for index in todo)
    for name in files.listing(folder):
        if name.endswith(files.PARTIAL) and name.startswith(ours):
            files.remove(os.path.join(folder, name))
