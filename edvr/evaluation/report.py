"""The results of an evaluation as text, JSON and CSV."""
import csv
import math
import typing

from data_tools.base import files
from edvr.config.metrics import METRICS
from edvr.evaluation.measure import ClipResult, Numbers, mean, median_ms, overall

_LABELS = (('edvr_%s', 'EDVR, rounded to uint8'), ('edvr_%s_unrounded', 'EDVR, not rounded'),
           ('bicubic_%s', 'bicubic'))
_COLUMNS = sorted((column for metric in METRICS.values() for column in metric.columns),
                  key=lambda column: column[0].endswith('_y'))   # RGB, then luma
CONVENTIONS = {
    'rounded': 'the restored image clipped and rounded to uint8, as files store it (what papers report)',
    'unrounded': 'the restored float image clipped to [0, 1], not rounded',
    'rgb': 'over all pixels and the three channels, peak 255',
    'y': "luma of ITU-R BT.601 in studio swing (16..235) as Matlab's rgb2ycbcr, not rounded, peak 255",
    'ssim': 'Gaussian window 11x11, sigma 1.5, where the window fits; mean over channels',
    'vmaf': "of ffmpeg's libvmaf and its default model, on the luma of the rounded image",
    'warp': 'mean absolute error, in levels of luma of the rounded image, of the change between two frames along the '
            'motion of the truth, found by blocks of 16x16 pixels; the first frame of a clip has none',
    'mean': 'frames -> clip, clips -> overall',
    'ms_per_frame': 'median over all frames but the first; reading files and measuring not included'}


def quality(numbers: Numbers) -> str:
    """Returns `27.8412, SSIM = 0.801234` of numbers: RGB, rounded."""
    text = '%.4f' % numbers['edvr_psnr']
    return text + (', SSIM = %.6f' % numbers['edvr_ssim'] if 'edvr_ssim' in numbers else '')


def clip_lines(result: ClipResult) -> typing.List[str]:
    """Returns the lines to print for an evaluated clip."""
    return ['Video %s PSNR = %s' % (result.name, quality(mean(result.frames))),
            'Inference time: %.2f ms per frame (median of %d)' % (median_ms([result]), len(result.frames))]


def table(results: typing.Sequence[ClipResult], crop_border: int) -> typing.List[str]:
    """Returns the lines of the closing table."""
    rows = [('%s (%d)' % (result.name, len(result.frames)), mean(result.frames)) for result in results]
    rows.append(('all clips', overall(results)))
    columns = [column for column in _COLUMNS if 'edvr_' + column[0] in rows[0][1]]
    width = max([len('clip (frames)')] + [len(name) for name, _ in rows])
    lines = ['%-*s  %-23s' % (width, 'clip (frames)', '') + ''.join('%10s' % title for _, title, _ in columns)]
    for name, numbers in rows:
        for key, label in _LABELS:
            if key % 'psnr' in numbers:
                texts = [_text(form, numbers.get(key % kind)) for kind, _, form in columns]
                lines.append(' '.join(['%-*s  %-23s' % (width, name, label)] + texts).rstrip())
                name = ''
    lines.append('mean of frames per clip, then of clips; crop_border %d; median %.2f ms per frame without the first'
                 % (crop_border, median_ms(results)))
    return lines


def numbers_of(numbers: Numbers) -> typing.List[typing.Tuple[str, str]]:
    """Returns (name, value) of the numbers of one frame."""
    return [('%s, %s' % (title, label), (form % numbers[key % kind]).strip()) for key, label in _LABELS
            for kind, title, form in _COLUMNS if numbers.get(key % kind) is not None]


def _text(form: str, number: typing.Optional[float]) -> str:
    return ' ' * len(form % 0) if number is None else form % number


def to_dict(results: typing.Sequence[ClipResult], **about: typing.Any) -> typing.Dict[str, typing.Any]:
    """Returns all results for JSON: the overall numbers, then `clips`, each with its numbers and `frames`."""
    clips = [dict(mean(result.frames), name=result.name, num_frames=len(result.frames),
                  ms_per_frame=median_ms([result]),
                  frames=[dict(row, ms=1000 * second) for row, second in zip(result.frames, result.seconds)])
             for result in results]
    return dict(about, ms_per_frame=median_ms(results), conventions=CONVENTIONS, clips=clips, **overall(results))


def write_json(path: str, content: typing.Mapping[str, typing.Any]) -> None:
    """Writes a dict; an infinite PSNR (equal images) becomes the string "inf", which JSON numbers lack."""
    files.write_json(path, _finite(content))


def _finite(value):
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def write_csv(path: str, results: typing.Sequence[ClipResult]) -> None:
    """Writes one line per frame (counted from 0), then `mean` lines per clip and over all clips."""
    names = list(results[0].frames[0])
    with files.atomic_path(path) as partial, open(partial, 'w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(['clip', 'frame', 'ms'] + names)
        for result in results:
            for i, (row, second) in enumerate(zip(result.frames, result.seconds)):
                writer.writerow([result.name, i, '%.3f' % (1000 * second)] + [row[name] for name in names])
            average = mean(result.frames)
            writer.writerow([result.name, 'mean', '%.3f' % median_ms([result])] + [average[name] for name in names])
        average = overall(results)
        writer.writerow(['all', 'mean', '%.3f' % median_ms(results)] + [average[name] for name in names])
