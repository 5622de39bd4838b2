"""Options of make_tfrecords and check_tfrecords."""
import dataclasses
from typing import Iterator, Optional

from data_tools.base import paths
from data_tools.base.beam_config import BeamConfig
from data_tools.base.config import Config, option
from data_tools.media.config import DeinterlaceConfig, MadeLqConfig, ShotConfig
from data_tools.media.degradation import NONE
from data_tools.media.windows import FILLS
from data_tools.record.job_windows import NO_FILL
from data_tools.record.record_format import ENCODINGS, TILES

SHARD_MB = 256
REACHING_FILLS = (NO_FILL, 'replicate', 'reflection')   # whose windows hold those of shorter intervals


@dataclasses.dataclass(frozen=True)
class PackConfig(BeamConfig, ShotConfig, DeinterlaceConfig, MadeLqConfig):
    """The clips to pack, the format of the set, and its folder."""

    TITLE = 'packing'

    data_dir: str = option(paths.SOURCES, 'folder with the clips or videos (layouts: see '
                           'data_tools/media/dataset_layouts.py), a text file that lists such folders and videos, or '
                           'an LMDB made for BasicSR, whose LQ is the LMDB of --lq_folder',
                           common=True, shown='clips', path='input')
    output_dir: str = option('', 'folder for the shards, new or empty; also gs://...; '
                             'default: tfrecords inside --data_dir', common=True, path='derived', gfile=True)
    num_frames: int = option(5, 'frames in a window, odd', low=1, common=True)
    scale: int = option(4, 'size of GT over size of LQ', choices=(1, 2, 3, 4), common=True)
    encoding: str = option('raw', 'raw: fastest, 3.6 MB a window of REDS, for fast local disks; tiles: PNG in tiles, '
                           'about two thirds of that, for slow disks, networks and object stores', choices=ENCODINGS,
                           common=True)
    lq_tile: Optional[int] = option(None, 'with tiles: side of an LQ tile in LQ pixels, 0 for raw LQ; default %d'
                                    % TILES['tiles'][0], low=0)
    gt_tile: Optional[int] = option(None, 'with tiles: side of a GT tile in GT pixels; a crop decodes the tiles it '
                                    'touches; default %d' % TILES['tiles'][1], low=8)
    fill: str = option(FILLS[0], 'how windows at the ends of a clip are filled; none: only whole windows, so a clip '
                       'of 7 frames with num_frames=7 has one window', choices=FILLS + (NO_FILL,))
    frame_interval: int = option(1, 'distance of neighbouring frames of a window, in frames', low=1)
    reach: int = option(1, 'the longest interval, in frame_intervals, that --intervals of edvr.train may draw from '
                        'this set: a record then holds (num_frames - 1) * reach + 1 LQ frames. Needs --fill=none, '
                        'replicate or reflection', low=1, high=99)
    versions: int = option(1, 'pack each clip so many times, each with other draws of the degradation; needs '
                           '--make_lq', low=1, high=999)
    clips: str = option('', 'clips to pack: names separated by commas, REDS4, @file.json, @file.txt or all; empty '
                        'packs all, in Vimeo-90K those of sep_trainlist.txt', common=True)
    exclude: str = option('auto', 'clips to leave out, e.g. REDS4; auto leaves out the clips that the data set holds '
                          'out for evaluation (sets/val.json), unless --clips names some', common=True)
    lq_folder: str = option('', 'folder with LQ, if the layout has several kinds (BDx4) or LQ is elsewhere',
                            path='input')
    allow_damaged: bool = option(False, 'of a damaged or truncated video, pack the frames that can be decoded')
    seed: int = option(0, 'seed of the order of windows and of the random choices of make_lq')
    num_shards: Optional[int] = option(None, 'number of files, at least the number of devices that will train '
                                       'together; default: about %d MB each, at least 16' % SHARD_MB, low=1,
                                       high=99999)
    workers: int = option(0, 'worker processes without --runner; 0: one per core', low=0, common=True)
    shard_range: str = option('', 'FIRST:END, pack only these shards (END not included); for several hosts')
    merge_manifests: bool = option(False, 'write the manifest of a set whose shards several hosts have packed')
    scratch_dir: str = option('', 'folder for decoded frames while packing (all of LQ, and GT of videos); default '
                              'inside output_dir, or the temporary folder if that is remote',
                              path='local')
    scratch_gb: float = option(0., 'GB that decoded frames may take in scratch_dir; 0: the free space. With too '
                               'little, videos are decoded several times, each time for some of the shards', low=0)
    update: bool = option(False, 'pack clips of a complete set again if their source has changed (for an unfinished '
                          'set this is always done)')

    def problems(self) -> Iterator[str]:
        yield from super().problems()
        if not self.data_dir:
            yield '--data_dir is not given; it must be the folder with the clips'
        if self.num_frames % 2 == 0:
            yield '--num_frames=%d: a window has a centre frame, so it must be odd' % self.num_frames
        if self.reach > 1 and self.fill not in REACHING_FILLS:
            yield ('--reach=%d: the fill %s depends on the interval; give --fill=%s'
                   % (self.reach, self.fill, ', '.join(REACHING_FILLS[:-1]) + ' or ' + REACHING_FILLS[-1]))
        if self.versions > 1 and not self.make_lq:
            yield '--versions=%d: LQ that comes with a clip has one version; give --make_lq' % self.versions
        if self.versions > 1 and self.make_lq and not self.draws:
            yield ('--versions=%d: --degradation=%s draws nothing, so all versions would be equal; give --lq_noise, or '
                   '--crf=15,35 with compressed, or choose realistic' % (self.versions, self.degradation))
        if self.make_lq and self.degradation == NONE and self.scale != 1:
            yield '--degradation=none packs GT as LQ, so --scale must be 1, not %d' % self.scale
        if self.encoding == 'raw' and (self.lq_tile or self.gt_tile):
            yield '--lq_tile and --gt_tile are for --encoding=tiles'


@dataclasses.dataclass(frozen=True)
class CheckConfig(Config):
    """The set to check, and the depth of the check."""

    TITLE = 'checking'

    data_dir: str = option(paths.SHARDS, 'folder with the shards and their manifest', shown='shards',
                           path='input', gfile=True)
    deep: bool = option(False, 'decode every record')
    source: str = option('', 'folder with the clips or videos of which the set was made: compares every pixel',
                         path='input')
    lq_folder: str = option('', 'with --source: folder with the LQ; default: that of the manifest, if it is inside of '
                            '--source', path='input')

    def problems(self) -> Iterator[str]:
        if not self.data_dir:
            yield '--data_dir is not given; it must be a folder that make_tfrecords has written'
