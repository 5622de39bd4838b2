"""Options of restoring clips, and of evaluating restored clips."""
import dataclasses
from typing import Iterator, Tuple

from data_tools.base import paths
from data_tools.base.config import Config, option
from data_tools.media.config import MadeLqConfig, ShotConfig
from data_tools.media.windows import FILLS
from edvr.config.metrics import METRICS
from edvr.config.model import ModelConfig
from edvr.config.npu import NPU_DCN
from edvr.devices import DEVICES, KERNELS

AUTO = 'auto'


@dataclasses.dataclass(frozen=True)
class RestoreConfig(Config):
    """Options of every program that restores clips with a trained network."""

    TITLE = 'restoration'

    checkpoint: str = option(paths.RUN, 'the network: a training directory (its newest whole checkpoint), a '
                             'checkpoint prefix such as DIR/model.ckpt-600000, or a frozen graph (.pb; of an export in '
                             'parts any of its files)', common=True,
                             shown='checkpoint', path='checkpoint')
    use_ema: bool = option(True, 'use the averaged weights where the checkpoint has them')
    fill: str = option(AUTO, 'which frames replace those before the first and after the last of a clip; auto as in the '
                       'published evaluation: replicate for networks with a predeblur module, else reflection_circle',
                       choices=(AUTO,) + FILLS)
    cached: bool = option(True, 'compute the features of each frame once and keep them for the windows that need them; '
                          'without it every window is computed whole (slower, same result)')
    cache_gb: float = option(4., 'memory in GB that kept features may take; where more is needed (large frames in '
                             'tiles, ensemble) every window is computed whole', low=0.)
    tile: str = option('0', 'restore in overlapping square tiles with this side in LQ pixels, to bound memory; 0 '
                       'restores whole frames; auto (on a CPU, in one process) chooses the tiles with the least '
                       'work that --memory_gb allows',
                       common=True)
    tile_overlap: int = option(64, 'LQ pixels that neighbouring tiles share; fewer are faster, more hide seams better',
                               low=0)
    memory_gb: float = option(8., 'memory in GB that --tile=auto may use for the program, restored frames, a tile and '
                              'kept features', low=0.1)
    ensemble: bool = option(False, 'restore the 8 flipped and transposed versions and average them: 8 times the work '
                            'for a little more quality', common=True)
    device: str = option('cpu', 'device to compute on: npu (Ascend), gpu or cpu; auto uses npu if there is an '
                         'Ascend adapter or card, else the GPUs that TensorFlow sees, else the CPU',
                         choices=tuple(DEVICES), common=True, auto=True)
    kernels: str = option('auto', 'operators that compute the network: npu, native (compiled for CPUs), cuda (for '
                          'NVIDIA GPUs), tf (stock operations; an exported graph unchanged), auto (the fastest '
                          'available)',
                          choices=('auto',) + KERNELS, former='dcn_impl')
    npu_dcn: str = option('auto', 'on NPU: how deformable convolutions of several groups run: whole (one call, on the '
                          'AI CPU), split (a call for each group), auto (split where AI Core then takes it)',
                          choices=NPU_DCN, devices=('npu',))
    soc_version: str = option('', 'on NPU: the chip, such as Ascend910B1, for --npu_dcn=auto; empty asks npu-smi',
                              devices=('npu',))
    exact: bool = option(False, "compute every convolution by its definition. Without it the compiled operators use "
                         "Winograd's algorithm where it is faster; values in [0, 1] differ by less than 1e-5")
    compute: str = option('float32', 'precision of the products: float32; bf16 (bfloat16 factors, float32 sums) is '
                          'faster and needs a CPU with AVX512_BF16 and the compiled operators',
                          choices=('float32', 'bf16'))
    intra_op_threads: int = option(0, 'threads that compute inside one operation; 0 means one per core', low=0)
    trust_graph: bool = option(False, 'run an exported graph whatever its operations are; without, a graph with '
                               'operations that no export has is refused, since they may read and write files')

    def problems(self) -> Iterator[str]:
        if self.tile != 'auto' and not self.tile.isdigit():
            yield "tile is %r; it must be a number of LQ pixels, 0 (whole frames) or auto" % self.tile
        if self.exact and self.compute != 'float32':
            yield 'exact is set and compute is %s; exact results need --compute=float32' % self.compute

    def for_network(self, network: ModelConfig) -> 'RestoreConfig':
        """Returns the options with those that the network decides filled in."""
        return self.replace(fill=network.fill) if self.fill == AUTO else self


@dataclasses.dataclass(frozen=True)
class EvaluateConfig(ShotConfig, MadeLqConfig):
    """The clips to restore and compare, and the files for the results."""

    TITLE = 'evaluation'

    data_dir: str = option(paths.SOURCES, 'folder of clips with LQ and GT, in any layout of '
                           'data_tools/media/dataset_layouts.py; with --make_lq clips or videos that are the GT',
                           common=True, shown='data', path='input')
    clips: str = option('auto', 'clips to evaluate: names separated by commas, REDS4 (000,011,015,020), or @FILE.json; '
                        'empty means all, auto those that the data set holds out (REDS4 in REDS, sep_testlist.txt in '
                        'Vimeo-90K), else all', common=True)
    lq_folder: str = option('', 'folder with LQ, if the layout has several kinds (BDx4) or LQ is elsewhere',
                            path='input')
    seed: int = option(0, 'with --make_lq: seed of its random choices, as in make_tfrecords')
    max_frames: int = option(0, 'frames to evaluate of each clip, from its start; 0 means all', low=0, common=True)
    crop_border: int = option(0, 'GT pixels left out at each side when comparing', low=0)
    metrics: Tuple[str, ...] = option(('psnr', 'ssim'), 'what to measure: ' + '; '.join(
        '%s (%s)' % (name, metric.help) for name, metric in METRICS.items()), choices=tuple(METRICS), common=True)
    ssim: bool = option(True, 'compute SSIM; --nossim leaves it out of --metrics')
    bicubic: bool = option(True, 'evaluate bicubic interpolation beside the network')
    json: str = option('', 'write all numbers to this file, as JSON', common=True, path='output')
    csv: str = option('', 'write the numbers of every frame to this file, as CSV', common=True, path='output')
    comparison_dir: str = option('', 'write pictures LQ | bicubic | restored | GT of some frames into this folder, and '
                                 'index.html, a page to compare them with a slider',
                                 common=True, path='output')
    comparison_frames: int = option(1, 'frames per clip to write into --comparison_dir, spread over the clip', low=1)
    summary_dir: str = option('', 'write PSNR, SSIM and comparison pictures as TensorBoard events into this folder',
                              path='output')
    watch: bool = option(False, 'follow the training directory given as --checkpoint: evaluate each new checkpoint, '
                         'write the curves to TensorBoard (DIR/eval), keep the best checkpoint in DIR/eval/best',
                         common=True)
    watch_until_step: int = option(0, 'with --watch: end when a checkpoint of this step or later is evaluated; 0 '
                                   'continues until it is interrupted', low=0)
    watch_interval_s: float = option(30., 'with --watch: seconds between checks of the directory', low=0.1)

    def measures(self, name: str) -> bool:
        """Returns whether a metric of METRICS is measured."""
        return name == 'psnr' or (name in self.metrics and (name != 'ssim' or self.ssim))

    @property
    def temporal(self) -> Tuple[str, ...]:
        """Returns the metrics to measure whose numbers depend on the frames before."""
        return tuple(name for name, metric in METRICS.items() if metric.temporal and self.measures(name))

    def problems(self) -> Iterator[str]:
        yield from super().problems()
        if self.watch and self.measures('vmaf'):
            yield 'metrics has vmaf with --watch; evaluate the checkpoints that count without --watch'
        if self.watch_until_step and not self.watch:
            yield 'watch_until_step is %d without --watch' % self.watch_until_step
