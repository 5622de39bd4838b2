"""Checks a set of shards against its manifest, and says which record of which shard is wrong. Exit code 1 if any is.

    python -m data_tools.check_tfrecords --data_dir=REDS/tfrecords                      counts, sizes, checksums
    python -m data_tools.check_tfrecords --data_dir=REDS/tfrecords --deep               decodes every record as well
    python -m data_tools.check_tfrecords --data_dir=REDS/tfrecords --source=REDS/images compares with the frames as well
"""
import os
import sys
import zlib

import numpy as np
from absl import flags
from tqdm import tqdm

from data_tools import cli, clips, files, images, records, shards
from data_tools.make_lq import make_lq

FLAGS = flags.FLAGS


def define_flags():
    flags.DEFINE_string('data_dir', None, 'folder with the shards and their manifest', required=True)
    flags.DEFINE_bool('deep', False, 'decode every record')
    flags.DEFINE_string('source', None, 'folder with the clips the set was made of: compares every pixel')


def main():
    problems = []

    def tell(text):
        problems.append(text)
        tqdm.write('wrong: ' + text)

    folder = FLAGS.data_dir
    manifest = records.Manifest.read(folder)
    found = _source_clips(manifest) if FLAGS.source else None
    seen = set()
    with tqdm(total=manifest.records, unit=' records', desc='checking', mininterval=0.5) as bar:
        for shard in manifest.shards:
            for text in check_shard(folder, shard, manifest, FLAGS.deep or found is not None, found, seen, bar.update):
                tell(text)
    if not problems:
        for text in missing_windows(manifest, seen):
            tell(text)
    if problems:
        print('%s: %d problems' % (folder, len(problems)))
        return 1
    print('%s: %d windows in %d shards are sound%s' % (
        folder, manifest.records, len(manifest.shards),
        ' and equal their source' if found else ', all decoded' if FLAGS.deep else ''))
    return 0


def _source_clips(manifest):
    made = manifest.job.get('make_lq', False)
    names = [name for name, _ in manifest.job['clips']]
    return {clip.name: clip for clip in clips.find_clips(FLAGS.source, manifest.scale, need_lq=not made, clips=names)}


def check_shard(folder, shard, manifest, deep, found, seen, progress):
    """Yields a text for each thing that is wrong with a shard.

    Args:
      folder: of the set. shard: records.Shard. manifest: records.Manifest.
      deep: bool, decode the records.
      found: dict of name -> clips.Clip to compare with, or None.
      seen: set that gets (clip, centre) of every sound record.
      progress: called with the number of records done.
    """
    path = os.path.join(folder, shard.name)
    size = files.size(path)
    if size is None:
        yield '%s is missing' % path
        progress(shard.records)
        return
    if size != shard.bytes:
        yield '%s has %d bytes, the manifest says %d' % (path, size, shard.bytes)
    count, crc, sound = 0, 0, True
    for index, _, record, error in shards.walk(path):
        count = index + 1
        progress(1)
        text = str(error) if error else _check_record(record, manifest, deep, found, seen)
        if record is not None:
            crc = zlib.crc32(record, crc)
        if text:
            sound = False
            yield 'record %d of %s: %s' % (index, path, text)
    if count != shard.records:
        yield '%s has %d records, the manifest says %d' % (path, count, shard.records)
    elif sound and crc != shard.crc:
        yield '%s has sound records, but not those the manifest describes (checksum)' % path
    elif sound and not _frames_sound(path):
        yield '%s: the checksums around the records are damaged; TensorFlow will refuse it' % path


def _frames_sound(path):
    """Whether TensorFlow reads the shard to its end: it checks the CRCs around the records, which we do not."""
    tf = files.tensorflow()
    try:
        for _ in tf.io.tf_record_iterator(path):
            pass
    except tf.errors.DataLossError:
        return False
    return True


def _check_record(record, manifest, deep, found, seen):
    """What is wrong with a record whose checksum is right, or None."""
    values = records.header(record)
    for key in ('num_frames', 'scale', 'lq_tile', 'gt_tile'):
        if values[key] != getattr(manifest, key):
            return 'it has %s=%d, the manifest says %d' % (key, values[key], getattr(manifest, key))
    name = records.clip_name(record)
    if (name, values['index']) in seen:
        return 'clip %s, frame %d is there twice' % (name, values['index'])
    seen.add((name, values['index']))
    if not deep:
        return None
    try:
        window = records.decode(record)
    except records.RecordError as error:
        return str(error)
    return _compare(window, found, manifest) if found is not None else None


def _compare(window, found, manifest):
    clip = found[window.clip]
    where = 'clip %s, frame %d: ' % (window.clip, window.index)
    if clip.length != window.length:
        return where + 'the clip had %d frames when packed and has %d now' % (window.length, clip.length)
    if not np.array_equal(images.read_image(clip.gt_paths[window.index]), window.gt):
        return where + 'GT differs from %s' % clip.gt_paths[window.index]
    for frame, lq in zip(window.frames, window.lq):
        path = (clip.lq_paths or clip.gt_paths)[frame]
        source = images.read_image(path)
        if not np.array_equal(source if clip.lq_paths else make_lq(source, manifest.scale), lq):
            return where + 'LQ differs from %s' % path
    return None


def missing_windows(manifest, seen):
    """Yields a text for each clip whose windows are not all in the set."""
    for name, length in manifest.job['clips']:
        lacking = [index for index in range(length) if (name, index) not in seen]
        if lacking:
            yield 'clip %s lacks %d of %d windows, the first at frame %d' % (name, len(lacking), length, lacking[0])


if __name__ == '__main__':
    define_flags()
    sys.exit(cli.run(main))
