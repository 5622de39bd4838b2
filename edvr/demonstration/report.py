"""The closing table of the demonstration."""
import os
import re
import statistics

import numpy as np

from data_tools.base.errors import UserError
from data_tools.base.files import read_json, write_json
from data_tools.media.images import read_image


def largest_difference(first: str, second: str) -> int:
    """Returns the largest difference, in gray levels of 255, between the PNG frames of two folders."""
    names = sorted(name for name in os.listdir(first) if name.endswith('.png'))
    if not names or names != sorted(name for name in os.listdir(second) if name.endswith('.png')):
        raise UserError('%s and %s do not hold the same frames' % (first, second))
    return max(int(np.abs(read_image(os.path.join(first, name)).astype(int)
                          - read_image(os.path.join(second, name))).max()) for name in names)


def report(out: str, seconds: float) -> None:
    """Prints the closing table and writes summary.json.

    Raises:
      UserError: the frames that the frozen graph restored differ from those of the checkpoint.
    """
    evaluation, exported = (read_json(os.path.join(out, name)) for name in ('evaluation.json', 'EDVR.json'))
    with open(os.path.join(out, 'train.log')) as file:
        rates = [float(rate) for rate in re.findall(r', fps:([0-9.]+)', file.read())]
    levels = largest_difference(os.path.join(out, 'restored'), os.path.join(out, 'restored_by_graph'))
    if levels > 1:
        raise UserError('frames restored by the frozen graph differ from the checkpoint by %d gray levels' % levels)
    summary = {
        'bicubic_psnr': evaluation['bicubic_psnr'], 'edvr_psnr': evaluation['edvr_psnr'],
        'samples_per_s': statistics.median(rates), 'export_max_abs_diff': exported['verification']['max_abs_diff'],
        'restored_max_gray_levels_diff': levels, 'seconds': round(seconds, 1),
        'checkpoint': os.path.join(out, 'model'), 'restored': os.path.join(out, 'restored'),
        'frozen_graph': os.path.join(out, 'EDVR.pb'),
        'tensorboard': 'tensorboard --logdir=' + os.path.join(out, 'model')}
    write_json(os.path.join(out, 'summary.json'), summary)
    print('\n' + '\n'.join('%-30s %s' % (name, '%.6g' % value if isinstance(value, float) else value)
                           for name, value in summary.items()))
