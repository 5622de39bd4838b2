"""The speed of making data: TFRecords of the two encodings beside an LMDB of the same frames, and LQ clips.

The clips are drawn. Times are those of whole programs, start included. The LMDB holds the bytes of the PNG files under
their names, as PyTorch toolboxes read them, GT and LQ in one commit each.
"""
import os
import tempfile
import time

from data_tools.base.errors import UserError
from edvr.benchmarks import child
from edvr.benchmarks.measure import Result, Results
from edvr.config import BenchmarkConfig, DataConfig, ModelConfig, RuntimeConfig
from edvr.config.benchmark import sizes

_CLIPS = 4
_MAP_BYTES = 2 ** 40   # address space, not memory


def run(benchmark: BenchmarkConfig, model: ModelConfig, data: DataConfig, runtime: RuntimeConfig) -> Results:
    """Measures frames/s and MB/s (10^6 bytes written) of clips whose LQ has `benchmark.frame_size`.

    Raises:
      UserError: the package lmdb is missing, or a program fails.
    """
    height, width = (model.upscale * side for side in sizes(benchmark.frame_size))
    count = _CLIPS * benchmark.frames
    text = '%d clips of %d frames, GT %dx%d' % (_CLIPS, benchmark.frames, height, width)
    results = []

    def add(implementation: str, seconds: float, written: str) -> None:
        results.append(_result(implementation, text, seconds, count, child.size_of(written)))

    with tempfile.TemporaryDirectory() as folder:
        root = os.path.join(folder, 'clips')
        gt, lq = (os.path.join(root, 'images', name) for name in ('truth', 'blur%d' % model.upscale))
        child.draw_clip(os.path.join(gt, '000'), benchmark.frames, height, width)
        for number in range(1, _CLIPS):   # drawing takes longer than what is measured
            os.makedirs(os.path.join(gt, '%03d' % number))
            for name in os.listdir(os.path.join(gt, '000')):
                os.link(os.path.join(gt, '000', name), os.path.join(gt, '%03d' % number, name))
        add('make_lq', child.run('data_tools.make_lq', '--data_dir=' + root, '--output_dir=' + root,
                                 '--scale=%d' % model.upscale), lq)
        for encoding in ('raw', 'tiles'):
            out = os.path.join(folder, encoding)
            add('make_tfrecords, ' + encoding,
                child.run('data_tools.make_tfrecords', '--data_dir=' + root, '--output_dir=' + out, '--exclude=',
                          '--num_frames=%d' % model.num_frames, '--encoding=' + encoding), out)
        out = os.path.join(folder, 'lmdb')
        add('a plain LMDB', _write_lmdb(out, gt, lq), out)
    return results


def _result(implementation: str, text: str, seconds: float, frames: int, size: int) -> Result:
    return dict(what='packing', implementation=implementation, shape=text, frames_per_s=frames / seconds,
                mb_per_s=size / 1e6 / seconds, mb=size / 1e6)


def _write_lmdb(out: str, *roots: str) -> float:
    """Writes an LMDB of the files of each root; returns the seconds that it takes."""
    try:
        import lmdb
    except ImportError as error:
        raise UserError("--what=packing compares with an LMDB and needs lmdb (%s): pip install 'edvr[lmdb]', in a "
                        "checkout pip install '.[lmdb]'" % error) from None
    start = time.perf_counter()
    for root in roots:
        path = os.path.join(out, os.path.basename(root))
        os.makedirs(path)
        with lmdb.open(path, map_size=_MAP_BYTES) as environment, environment.begin(write=True) as transaction:
            for clip in sorted(os.listdir(root)):
                for name in sorted(os.listdir(os.path.join(root, clip))):
                    with open(os.path.join(root, clip, name), 'rb') as file:
                        transaction.put(('%s/%s' % (clip, os.path.splitext(name)[0])).encode(), file.read())
    return time.perf_counter() - start
