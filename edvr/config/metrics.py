"""The metrics of an evaluation."""
import typing


class Metric(typing.NamedTuple):
    """Describes a metric.

    Attributes:
      help: for --help.
      columns: (key, title, format) of its numbers.
      temporal: whether the number of a frame depends on those before it.
    """
    help: str
    columns: typing.Tuple[typing.Tuple[str, str, str], ...]
    temporal: bool = False


METRICS: typing.Dict[str, Metric] = {
    'psnr': Metric('always measured', (('psnr', 'PSNR RGB', '%9.4f'), ('psnr_y', 'PSNR Y', '%9.4f'))),
    'ssim': Metric('structural similarity', (('ssim', 'SSIM RGB', '%9.6f'), ('ssim_y', 'SSIM Y', '%9.6f'))),
    'vmaf': Metric('by the ffmpeg in use, if it has libvmaf and its model', (('vmaf', 'VMAF', '%9.4f'),), True),
    'warp': Metric('temporal consistency: mean absolute error, in levels of luma, of the change between two frames '
                   'along the motion of the truth; 0 is best', (('warp', 'warp', '%9.4f'),), True)}
