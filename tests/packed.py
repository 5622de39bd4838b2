"""Small clips and sets of TFRecords for the tests of the data path."""
import json
import os

import numpy as np

from data_tools.media import ffmpeg, images
from data_tools.media.degradation import make_lq
from data_tools.packing import finishing, shard_writer, tasks
from data_tools.packing import job as packing_job
from data_tools.packing import pack as packing
from data_tools.packing.config import PackConfig
from data_tools.packing.defaults import resolve_defaults
from data_tools.packing.scratch import Scratch, decode_clips


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


def write_video(path, frames, *arguments):
    """A video of uint8 frames [L, H, W, 3], without loss unless `arguments` of ffmpeg say otherwise."""
    arguments = arguments or ('-c:v', 'ffv1', '-pix_fmt', 'bgr0')
    size = '%dx%d' % frames.shape[2:0:-1]
    ffmpeg.feed(ffmpeg.command('-loglevel', 'error', '-y', '-f', 'rawvideo', '-pix_fmt', 'rgb24', '-s', size,
                               '-framerate', '25', '-i', 'pipe:0', *arguments, str(path), read_stdin=True),
                [frames.tobytes()])
    return str(path)


def pack(source, folder, encoding='raw', num_shards=3, num_frames=3, scale=4, tiles=(8, 20), seed=0,
         **options):
    """A set of TFRecords, written in this process without workers."""
    lq_tile, gt_tile = tiles if encoding == 'tiles' else (None, None)
    config = PackConfig(data_dir=source, output_dir=str(folder), num_frames=num_frames, scale=scale, encoding=encoding,
                        lq_tile=lq_tile, gt_tile=gt_tile, num_shards=num_shards, seed=seed, **options)
    found, shots = packing.find_source(resolve_defaults(config)[0])
    job = packing_job.describe_job(config, found, shots)
    shards = range(num_shards)
    scratch = Scratch('', str(folder), shards, job)
    os.makedirs(scratch.folder)
    decode_clips(found, {}, scratch)
    for task in tasks.shard_tasks(found, job, str(folder), shards):
        shard_writer.pack_shard(task, scratch, str(folder), job)
    scratch.remove()
    finishing.finish(str(folder), finishing.sizes_of(found), job, finishing.parts_of(str(folder), job))
    finishing.tidy(str(folder), job)
    return str(folder)


def flip_byte(path, position):
    """Changes one byte of a file; a negative position counts from its end."""
    with open(path, 'r+b') as file:
        file.seek(position, 2 if position < 0 else 0)
        value = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([value[0] ^ 0x55]))


def edit_json(path, change):
    """Changes a JSON file: `change` takes its value and alters it."""
    with open(path) as file:
        values = json.load(file)
    change(values)
    with open(path, 'w') as file:
        json.dump(values, file)
