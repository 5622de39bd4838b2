"""Small clips and sets of TFRecords for the tests of the data path."""
import os

import numpy as np

from data_tools.media import clips, images
from data_tools.media.degradation import make_lq
from data_tools.packing import job as packing_job
from data_tools.packing import shard_writer
from data_tools.record.manifest import Manifest, Shard


def write_clips(root, lengths=(6, 7), size=(48, 64), scale=4, seed=0):
    """Clips of noise in the layout `truth/NNN`, `blur<s>/NNN`: every pixel differs, so no mistake can hide."""
    rng = np.random.RandomState(seed)
    for number, length in enumerate(lengths):
        for side in ('truth', 'blur%d' % scale):
            os.makedirs(os.path.join(str(root), side, '%03d' % number))
        for frame in range(length):
            gt = rng.randint(0, 256, tuple(size) + (3,)).astype(np.uint8)
            for side, image in (('truth', gt), ('blur%d' % scale, make_lq(gt, scale))):
                images.write_png(os.path.join(str(root), side, '%03d' % number, '%08d.png' % frame), image)
    return str(root)


def pack(source, folder, encoding='raw', num_shards=3, num_frames=3, scale=4, tiles=(8, 20), seed=0):
    """A set of TFRecords, written in this process without workers."""
    found = clips.find_clips(source, scale)
    lq_tile, gt_tile = tiles if encoding == 'tiles' else (0, 0)
    job = dict(num_frames=num_frames, scale=scale, encoding=encoding, lq_tile=lq_tile, gt_tile=gt_tile,
               fill='reflection_circle', frame_interval=1, make_lq=False, seed=seed, num_shards=num_shards,
               windows=sum(clip.length for clip in found), clips=[[clip.name, clip.length] for clip in found])
    folder, cache = str(folder), os.path.join(str(folder), 'cache')
    os.makedirs(cache)
    for clip in found:
        shard_writer.cache_clip(clip, cache, scale, False)
    parts = np.array_split(packing_job.order(job), num_shards)
    described = []
    for index, part in enumerate(parts):
        shard_writer.pack_shard(index, part.tolist(), found, cache, folder, job)
        described.append(shard_writer.finished(folder, index, job))
    manifest = Manifest(num_frames, scale, encoding, lq_tile, gt_tile,
                                sorted({tuple(size) for part in described for size in part['sizes']}),
                                [Shard(**part['shard']) for part in described], job)
    manifest.write(folder)
    return folder


def flip_byte(path, position):
    """Changes one byte of a file; a negative position counts from its end."""
    with open(path, 'r+b') as file:
        file.seek(position, 2 if position < 0 else 0)
        value = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([value[0] ^ 0x55]))
