"""Packs clips into TFRecord shards for training, losslessly, once.

    python -m data_tools.make_tfrecords --data_dir=REDS/images --output_dir=REDS/tfrecords --exclude=REDS4

One record is a window of frames with the ground truth of its centre; every frame of every clip is a centre once.
Windows are shuffled over all clips. The same input and seed give the same bytes, whatever the number of workers. A run
that was stopped goes on where it was when the same command is given again. manifest.json is written last.

Several hosts can share the work: give each a part with --shard_range, then run once more with --merge_manifests.
"""
import hashlib
import os
import sys

import numpy as np
from absl import flags

from data_tools import cli, clips, files, packing, records, sharding, windows
from data_tools.cli import UserError

FLAGS = flags.FLAGS
JOB = 'job.json'
SHARD_MB = 256


def define_flags():
    flags.DEFINE_string('data_dir', None, 'folder with the clips (layouts: see data_tools/clips.py)', required=True)
    flags.DEFINE_string('output_dir', None, 'folder for the shards, new or empty; also gs:// and what else TensorFlow '
                        'knows', required=True)
    flags.DEFINE_integer('num_frames', 5, 'frames in a window, odd', lower_bound=1)
    flags.DEFINE_enum('scale', '4', ['1', '2', '3', '4'], 'size of GT over size of LQ')
    flags.DEFINE_enum('encoding', 'raw', records.ENCODINGS,
                      'raw: fastest, 3.6 MB a window of REDS, for fast local disks; tiles: PNG in tiles, half of that, '
                      'for slow disks, networks and object stores')
    flags.DEFINE_integer('lq_tile', None, 'with tiles: side of an LQ tile in LQ pixels, 0 for raw LQ; default %d'
                         % records.TILES['tiles'][0], lower_bound=0)
    flags.DEFINE_integer('gt_tile', None, 'with tiles: side of a GT tile in GT pixels; a crop decodes the tiles it '
                         'touches; default %d' % records.TILES['tiles'][1], lower_bound=8)
    flags.DEFINE_enum('fill', windows.FILLS[0], windows.FILLS, 'frames for windows that reach over the ends of a clip')
    flags.DEFINE_integer('frame_interval', 1, 'distance of neighbouring frames of a window, in frames', lower_bound=1)
    flags.DEFINE_string('clips', None, 'pack only these: names with commas, REDS4, or @file.json')
    flags.DEFINE_string('exclude', None, 'pack all but these, e.g. REDS4, the clips that evaluation holds out')
    flags.DEFINE_bool('make_lq', False, "make LQ from GT by Pillow's antialiased bicubic, when there is only GT")
    flags.DEFINE_integer('seed', 0, 'of the order of windows')
    flags.DEFINE_integer('num_shards', None, 'number of files; default about %d MB each, at least 16. Not fewer than '
                         'the devices that will train together' % SHARD_MB, lower_bound=1, upper_bound=99999)
    flags.DEFINE_integer('workers', None, 'worker processes; default one per core', lower_bound=1)
    flags.DEFINE_string('shard_range', None, 'FIRST:END, pack only these shards (END not included); for several hosts')
    flags.DEFINE_bool('merge_manifests', False, 'write the manifest of a set whose shards several hosts have packed')
    flags.DEFINE_string('scratch_dir', None, 'folder for decoded LQ frames while packing (raw size of LQ); default '
                        'inside output_dir, or the temporary folder if that is remote')


def main():
    if FLAGS.num_frames % 2 == 0:
        raise UserError('--num_frames=%d: a window has a centre frame, so it must be odd' % FLAGS.num_frames)
    found = clips.find_clips(FLAGS.data_dir, int(FLAGS.scale), need_lq=not FLAGS.make_lq,
                             clips=clips.parse_names(FLAGS.clips), exclude=clips.parse_names(FLAGS.exclude))
    job = describe_job(found)
    _check_lengths(found, job)
    shards = range(job['num_shards'])
    wanted = _parse_range(FLAGS.shard_range, job['num_shards']) if FLAGS.shard_range else shards
    if prepare_output(FLAGS.output_dir, job):
        print('%s is whole already: %d windows' % (FLAGS.output_dir, job['windows']))
        return
    if not FLAGS.merge_manifests:
        pack(found, job, wanted)
    parts = [packing.finished(FLAGS.output_dir, index, job) for index in shards]
    missing = [records.shard_name(i, len(shards)) for i in shards if parts[i] is None]
    if missing and FLAGS.merge_manifests:
        raise UserError('%s lacks %d of %d shards: %s; pack them first, with --shard_range'
                        % (FLAGS.output_dir, len(missing), len(shards), ', '.join(missing[:8])))
    if missing:
        print('%d of %d shards done; when all are, run again with --merge_manifests'
              % (len(shards) - len(missing), len(shards)))
        return
    finish(job, parts)


def describe_job(found):
    """All that decides what the shards hold, as a dict for JSON; two runs with equal jobs write equal bytes."""
    lq_tile, gt_tile = records.TILES[FLAGS.encoding]
    if FLAGS.encoding == 'raw' and (FLAGS.lq_tile or FLAGS.gt_tile):
        raise UserError('--lq_tile and --gt_tile are for --encoding=tiles')
    if FLAGS.encoding == 'tiles':
        lq_tile = lq_tile if FLAGS.lq_tile is None else FLAGS.lq_tile
        gt_tile = gt_tile if FLAGS.gt_tile is None else FLAGS.gt_tile
    total = sum(clip.length for clip in found)
    num_shards = FLAGS.num_shards
    if num_shards is None:
        raw_bytes = sum(clip.length * packing.raw_bytes(clip, FLAGS.num_frames, int(FLAGS.scale)) for clip in found)
        share = 1 if FLAGS.encoding == 'raw' else 0.5
        num_shards = min(max(16, int(raw_bytes * share / (SHARD_MB * 1e6))), total, 99999)
    if num_shards > total:
        raise UserError('--num_shards=%d is more than the %d windows there are' % (num_shards, total))
    return dict(format_version=records.FORMAT_VERSION, num_frames=FLAGS.num_frames, scale=int(FLAGS.scale),
                encoding=FLAGS.encoding, lq_tile=lq_tile, gt_tile=gt_tile, fill=FLAGS.fill,
                frame_interval=FLAGS.frame_interval, make_lq=FLAGS.make_lq, seed=FLAGS.seed, num_shards=num_shards,
                windows=total, clips=[[clip.name, clip.length] for clip in found], source=_fingerprint(found))


def _fingerprint(found):
    """Changes when a source file is replaced: a stopped run must not go on with other frames."""
    digest = hashlib.sha1()
    for clip in found:
        for path in clip.lq_paths + clip.gt_paths:
            digest.update(('%s %s %d\n' % (clip.name, os.path.basename(path), os.path.getsize(path))).encode())
    return digest.hexdigest()


def _check_lengths(found, job):
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
    if records.MANIFEST not in names:
        return False
    records.Manifest.read(folder).check_shards(folder)
    return True


def _parse_range(text, count):
    first, colon, end = text.partition(':')
    if not (colon and first.isdigit() and end.isdigit() and int(first) < int(end) <= count):
        raise UserError('--shard_range=%s: it must be FIRST:END with 0 <= FIRST < END <= %d, the number of shards'
                        % (text, count))
    return range(int(first), int(end))


def order(job):
    """(clip number, centre frame) of every window, shuffled; int array [windows, 2]."""
    lengths = [length for _, length in job['clips']]
    every = np.concatenate([np.stack([np.full(length, clip), np.arange(length)], 1)
                            for clip, length in enumerate(lengths)])
    return every[np.random.RandomState(job['seed'] & 0xffffffff).permutation(len(every))]


def pack(found, job, wanted):
    """Packs the shards `wanted` (numbers) that are not there yet."""
    folder = FLAGS.output_dir
    todo = [index for index in wanted if packing.finished(folder, index, job) is None]
    if len(todo) < len(wanted):
        print('%d of %d shards are there already' % (len(wanted) - len(todo), len(wanted)))
    if not todo:
        return
    remove_partials(folder, todo, job)
    workers = FLAGS.workers or len(os.sched_getaffinity(0))
    context = 'spawn' if files.is_remote(folder) else 'fork'
    cache = packing.cache_dir(FLAGS.scratch_dir, folder, wanted)
    files.make_dir(cache)
    sharding.run(packing.cache_clip, [(clip, cache, job['scale'], job['make_lq']) for clip in found], workers,
                 'reading LQ', sum(clip.length for clip in found), ' frames', context)
    parts = np.array_split(order(job), job['num_shards'])
    tasks = [(index, parts[index].tolist(), found, cache, folder, job) for index in todo]
    total = sum(len(task[1]) for task in tasks)
    sharding.run(packing.pack_shard, tasks, workers, 'packing', total, ' windows', context)
    files.remove(cache)


def remove_partials(folder, todo, job):
    """Removes what a killed run of ours has left; other hosts may be writing other shards just now."""
    ours = tuple(records.shard_name(index, job['num_shards']) for index in todo)
    for name in files.listing(folder):
        if name.endswith(files.PARTIAL) and name.startswith(ours):
            files.remove(os.path.join(folder, name))


def finish(job, parts):
    """Writes the manifest and removes what was needed only while packing."""
    folder = FLAGS.output_dir
    sizes = sorted({tuple(size) for part in parts for size in part['sizes']})
    manifest = records.Manifest(job['num_frames'], job['scale'], job['encoding'], job['lq_tile'], job['gt_tile'], sizes,
                                [records.Shard(**part['shard']) for part in parts], job)
    manifest.check_shards(folder)
    manifest.write(folder)
    for index in range(job['num_shards']):
        files.remove(packing.part_path(folder, index, job))
    print('%s: %d windows in %d shards, %.2f GB, %s' % (folder, manifest.records, len(manifest.shards),
                                                       manifest.bytes / 1e9, job['encoding']))


if __name__ == '__main__':
    define_flags()
    sys.exit(cli.run(main))
