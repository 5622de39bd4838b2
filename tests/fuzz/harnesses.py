"""What is fuzzed: readers of files that may come from anywhere, with the errors that they may raise, and first inputs.

A harness is a function of bytes. Any error but those that it names, a process that dies and an input that takes more
than 20 s are findings.
"""
import contextlib
import functools
import json
import os
import struct
import tempfile
import typing
from unittest import mock

import numpy as np

from data_tools.base.errors import UserError


class Harness(typing.NamedTuple):
    """Describes a reader.

    Attributes:
      read: function(bytes).
      errors: that it may raise.
      seeds: function() -> list of bytes, inputs to begin with.
    """
    read: typing.Callable[[bytes], typing.Any]
    errors: typing.Tuple[typing.Type[BaseException], ...]
    seeds: typing.Callable[[], typing.List[bytes]]


@functools.lru_cache(maxsize=None)
def folder():
    """Returns a folder for the files of this process; nobody removes it when the process dies."""
    return tempfile.mkdtemp(prefix='edvr-fuzz-')


def written(data, name):
    """Writes a file; returns its path."""
    path = os.path.join(folder(), name)
    with open(path, 'wb') as file:
        file.write(data)
    return path


def text(value):
    return json.dumps(value).encode()


def window(tile=0):
    from data_tools.record import record_format
    lq, gt = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3), np.zeros([8, 8, 3], np.uint8)
    return record_format.encode(record_format.Window('clip', 0, [0, 1], 2, 1, 2, lq, gt), tile, tile)


def record(data):
    """Reads a record with its checksum corrected, as somebody who writes records on purpose would do."""
    import zlib

    from data_tools.record import record_format
    size = record_format.HEADER_BYTES
    if len(data) >= size:
        head = data[:size - 4]
        data = head + struct.pack('<I', zlib.crc32(data[size:], zlib.crc32(head))) + data[size:]
    values = record_format.header(data)
    if all(values[name] < 64 for name in ('lq_height', 'lq_width', 'gt_height', 'gt_width', 'num_frames')):
        record_format.decode(data)   # others take memory as they state it


def record_seeds():
    return [window(), window(4)]


def record_errors():
    from data_tools.record.record_format import RecordError
    return (RecordError,)


def shard(data):
    from data_tools.record import shard_reader
    list(shard_reader.walk(written(data, 'shard')))


def shard_seeds():
    from data_tools.record.shard_reader import masked_crc32c
    body = window()
    head = struct.pack('<Q', len(body))
    return [head + struct.pack('<I', masked_crc32c(head)) + body + struct.pack('<I', masked_crc32c(body))]


def tile(data):
    from data_tools.record import tile_codec
    tile_codec.decode_png(data)


def tile_seeds():
    from data_tools.record import tile_codec
    return [tile_codec.encode_png(np.arange(48, dtype=np.uint8).reshape(4, 4, 3))]


JOB = dict(num_frames=3, scale=4, encoding='raw', lq_tile=0, gt_tile=0, fill='replicate', frame_interval=1, windows=2,
           num_shards=1, clips=[['000', 2]])


def manifest(data):
    from data_tools.record.manifest import Manifest
    written(data, 'manifest.json')
    Manifest.read(folder())


def manifest_seeds():
    from data_tools.record.manifest import Manifest, Shard, shard_name
    with tempfile.TemporaryDirectory() as place:
        Manifest(3, 4, 'raw', 0, 0, [(8, 8)], [Shard(shard_name(0, 1), 2, 1000, 0)], JOB).write(place)
        with open(os.path.join(place, 'manifest.json'), 'rb') as file:
            return [file.read()]


@functools.lru_cache(maxsize=None)
def packed_job():
    """Returns the job of a set of one clip."""
    from data_tools.media import images
    from data_tools.packing import job as packing_job
    from data_tools.packing import pack
    from data_tools.packing.config import PackConfig
    from data_tools.packing.defaults import resolve_defaults
    with tempfile.TemporaryDirectory() as place:
        for side, size in (('truth', 32), ('blur4', 8)):
            os.makedirs(os.path.join(place, side, '000'))
            images.write_png(os.path.join(place, side, '000', '00000000.png'), np.zeros([size, size, 3], np.uint8))
        config = PackConfig(data_dir=place, output_dir=folder(), num_frames=1, num_shards=1)
        return packing_job.describe_job(config, *pack.find_source(resolve_defaults(config)[0]))


def job(data):
    from data_tools.packing import job as packing_job
    place = os.path.join(folder(), 'set')
    os.makedirs(place, exist_ok=True)
    written(data, 'set/job.json')
    packing_job.prepare_output(place, packed_job(), shared=True)


def sidecar(data):
    """Reads the file beside a shard of an unfinished set."""
    from data_tools.packing import shard_writer
    path = shard_writer.part_path(folder(), 0, JOB)
    with open(path, 'wb') as file:
        file.write(data)
    shard_writer.finished(folder(), 0, JOB)
    shard_writer.kept_clips(folder(), 0, JOB)


def sidecar_seeds():
    return [text(dict(shard=dict(name='shard-00000-of-00001.tfrecord', records=2, bytes=1000, crc=0),
                      sources={'000': '0'}))]


def rank_table(data):
    from edvr.launch import rank_table as module
    module.read(written(data, 'table.json'))


def rank_table_seeds():
    from edvr.launch import rank_table as module
    from edvr.launch.rank_table import Rank
    return [module.to_json([Rank(0, 0, '192.168.1.1', '10.0.0.1'), Rank(1, 0, '192.168.1.2', '10.0.0.2')]).encode()]


def hccn_conf(data):
    from edvr.launch import rank_table as module
    module.read_hccn_conf(written(data, 'hccn.conf'))


def archive(data):
    from data_tools.reds import unzip
    unzip.check(written(data, 'a.zip'))


def archive_seeds():
    import io
    import zipfile
    data = io.BytesIO()
    with zipfile.ZipFile(data, 'w') as file:
        file.writestr('train/train_sharp/000/00000000.png', b'x' * 50)
    return [data.getvalue()]


def packets(data):
    from data_tools.media import ffmpeg
    from data_tools.media import packets as module
    with mock.patch.object(ffmpeg, 'output', lambda *arguments: ffmpeg.Output(0, data, '')):
        for track in module.read('x.mp4', [0]).tracks:
            track.shown()


def safetensors(data):
    from edvr.pytorch import safetensors_file
    safetensors_file.load(written(data, 'x.safetensors'))


def safetensors_seeds():
    from edvr.pytorch import safetensors_file
    path = os.path.join(folder(), 'seed.safetensors')
    safetensors_file.save(path, {'a': np.zeros([2, 2], np.float32), 'b': np.zeros(3, np.float32)})
    with open(path, 'rb') as file:
        return [file.read()]


def pth(data):
    from edvr.pytorch import pth_file, state_dict
    state_dict.state_of(pth_file.load(written(data, 'x.pth')), 'x.pth')


def pth_seeds():
    from edvr.pytorch import pth_file
    path = os.path.join(folder(), 'seed.pth')
    pth_file.save(path, {'a': np.zeros([2, 2], np.float32)})
    with open(path, 'rb') as file:
        return [file.read()]


def described(data):
    """Reads an export by the JSON file beside its graph."""
    from edvr.exporting import description
    written(data, 'EDVR.json')
    description.read(os.path.join(folder(), 'EDVR.pb'))


def described_seeds():
    import tensorflow.compat.v1 as tf

    from edvr.config import ModelConfig
    from edvr.config.export import InterfaceConfig
    from edvr.exporting import description
    from edvr.exporting.graphs import WholeGraph
    graph = WholeGraph(ModelConfig(), InterfaceConfig(batch_size=1))
    with tf.Graph().as_default() as built:
        for name in graph.NODES:
            tf.placeholder(tf.float32, name=name)
    nodes = built.as_graph_def().SerializeToString()
    written(nodes, 'EDVR.pb')
    return [text(description.describe({graph: dict(sha256=description.checksum(nodes))}, dcn_impl='tf'))]


def model_json(data):
    from edvr.checkpoints import load_model_config
    written(data, 'model.json')
    load_model_config(folder())


def model_json_seeds():
    from edvr.config import ModelConfig
    return [text(ModelConfig().to_dict())]


def checkpoint_file(data):
    from edvr import checkpoints
    written(data, 'checkpoint')
    checkpoints.state_problem(folder())


def run_state(data):
    from edvr.training.rundir import run_state as module
    written(data, 'run_state.json')
    module.RunState(folder(), writes=False)


def shots(data):
    from data_tools.media import shots as module
    for found in module.read_shots(written(data, 'shots.json')).values():
        module.checked(found, 9, 'a')


def clip_names(data):
    from data_tools.media import clips
    with contextlib.suppress(UserError):
        clips.parse_names('@' + written(data, 'names.json'))
    clips.parse_names('@' + written(data, 'names.txt'))


HARNESSES = {
    'record': Harness(record, record_errors(), record_seeds),
    'shard': Harness(shard, (), shard_seeds),
    'tile': Harness(tile, (ValueError,), tile_seeds),
    'manifest': Harness(manifest, (UserError,), manifest_seeds),
    'job': Harness(job, (UserError,), lambda: [text(packed_job())]),
    'sidecar': Harness(sidecar, (UserError,), sidecar_seeds),
    'rank_table': Harness(rank_table, (UserError,), rank_table_seeds),
    'hccn_conf': Harness(hccn_conf, (UserError,), lambda: [b'address_0=10.0.0.1\naddress_1=10.0.0.2\n']),
    'archive': Harness(archive, (UserError,), archive_seeds),
    'packets': Harness(packets, (UserError,), lambda: [b'#tb 0: 1/25\n0, 0, 0, 1, 9, 0x1\n0, -1, 1, 1, 9, 0x2\n']),
    'safetensors': Harness(safetensors, (UserError,), safetensors_seeds),
    'pth': Harness(pth, (UserError,), pth_seeds),
    'described': Harness(described, (UserError,), described_seeds),
    'model_json': Harness(model_json, (UserError,), model_json_seeds),
    'checkpoint_file': Harness(checkpoint_file, (UserError,), lambda: [
        b'model_checkpoint_path: "model.ckpt-3"\nall_model_checkpoint_paths: "model.ckpt-3"\n']),
    'run_state': Harness(run_state, (UserError,), lambda: [
        text(dict(rollbacks=[], best=dict(step=3, psnr=30.5), kept={'3': 1.5}))]),
    'shots': Harness(shots, (UserError,), lambda: [text({'a': [[0, 4], [4, 9]]})]),
    'clip_names': Harness(clip_names, (UserError,), lambda: [text(['000', '001']), b'000/1 x\n# 2\n']),
}
