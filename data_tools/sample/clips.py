"""Sample clips on disk, in REDS layout."""
import os
import typing

from data_tools.base import worker_pool
from data_tools.base.errors import UserError
from data_tools.base.files import make_dir, read_json, write_json
from data_tools.base.paths import SAMPLE_MARK
from data_tools.media import splits
from data_tools.media.clips import REDS4
from data_tools.media.degradation import make_lq
from data_tools.media.images import read_image, write_png
from data_tools.sample.scene import Scene

SCENES_VERSION = 2   # increase it when the same flags give other pixels


def write_clip_part(folders: typing.Sequence[str], seed: typing.Sequence[int], height: int, width: int, scale: int,
                    start: int, stop: int) -> None:
    """Renders frames `start`..`stop - 1` of a clip into folders (GT, LQ); frames already there stay."""
    scene = None
    for t in range(start, stop):
        gt_path, lq_path = (os.path.join(folder, '%08d.png' % t) for folder in folders)
        if os.path.exists(gt_path) and os.path.exists(lq_path):
            worker_pool.report(1)
            continue
        if not os.path.exists(gt_path):
            scene = scene or Scene(seed, height, width)
            gt = scene.frame(t)
            write_png(gt_path, gt)
        else:
            gt = read_image(gt_path)
        write_png(lq_path, make_lq(gt, scale))
        worker_pool.report(1, os.path.getsize(gt_path) + os.path.getsize(lq_path))


def clip_seed(seed: int, index: int) -> typing.List[int]:
    """Returns the seed of a clip's RandomState: clips of neighbouring seeds and indices share nothing."""
    return [int(seed), int(index), SCENES_VERSION]


def make_clips(output_dir: str, num_clips: int, num_frames: int, height: int, width: int, scale: int = 4, seed: int = 0,
               first_clip: int = 0, num_workers: int = 1) -> None:
    """Writes clips `first_clip`.. to `output_dir`/images/truth/NNN and /images/blur<scale>/NNN.

    Those of REDS4 among them are held out for evaluation (sets/val.json), unless there are no others.

    Raises:
      UserError: sizes that do not fit, or a folder that holds something else.
    """
    side = 4 * scale   # LQ sides are multiples of 4: the network halves them twice
    if height % side or width % side:
        raise UserError('--gt_size=%dx%d: both must be multiples of %d (4 times the scale)' % (height, width, side))
    spec = dict(num_clips=num_clips, num_frames=num_frames, gt_size=[height, width], scale=scale, seed=seed,
                first_clip=first_clip, scenes_version=SCENES_VERSION, lq_resize='matlab')
    _claim(output_dir, spec)
    tasks = []
    parts = max(1, min(num_frames, -(-num_workers // num_clips)))
    for index in range(first_clip, first_clip + num_clips):
        folders = [os.path.join(output_dir, 'images', kind, '%03d' % index) for kind in ('truth', 'blur%d' % scale)]
        for folder in folders:
            make_dir(folder)
        edges = [num_frames * i // parts for i in range(parts + 1)]
        tasks += [(folders, clip_seed(seed, index), height, width, scale) + edge for edge in zip(edges, edges[1:])]
    worker_pool.run(write_clip_part, tasks, num_workers, 'sample clips', num_clips * num_frames, 'frame')
    splits.write(output_dir, ['%03d' % index for index in range(first_clip, first_clip + num_clips)], REDS4)


def _claim(output_dir, spec):
    """Writes a description into the folder; refuses a folder with other content."""
    path = os.path.join(output_dir, SAMPLE_MARK)
    if os.path.exists(path):
        known = read_json(path)
        if known != spec:
            found = ', '.join('%s=%s' % item for item in sorted(known.items())) if isinstance(known, dict) else known
            raise UserError('%s contains other sample clips (%s); give another --output_dir or remove it'
                            % (output_dir, found))
        return
    if os.path.isdir(output_dir) and os.listdir(output_dir):
        raise UserError('%s is not empty and was not made by this program; give another --output_dir' % output_dir)
    make_dir(output_dir)
    write_json(path, spec)
