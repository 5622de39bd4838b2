"""Results of benchmarks as text."""
import os
from typing import Any, Dict, Iterable, Iterator

from data_tools.base.errors import UserError

COLUMNS = (('ms', '%.1f ms'), ('ms_per_frame', '%.1f ms per frame'),
           ('ms_per_frame_cached', '%.1f ms with kept features'),
           ('ms_per_frame_in_memory', '%.1f ms in memory'), ('psnr', '%.2f dB'),
           ('frames_per_s', '%.1f frames/s'), ('mb_per_s', '%.1f MB/s'), ('mb', '%.0f MB'),
           ('samples_per_s', '%.2f samples/s'),
           ('tiles', '%s'), ('cpu_s_per_megapixel', '%.1f CPU s a megapixel'),
           ('gflops', '%.1f GFLOP/s'), ('matmul_peak_gflops', 'peak %.1f'), ('matmul_peak_of', 'by %s'),
           ('share_of_peak', '%.0f%%'), ('product_gflops', 'product %.1f'), ('product_of', 'by %s'),
           ('share_of_product', '%.0f%%'), ('bound_ms', 'bound %.1f ms'), ('bound_ms_cached', 'and %.1f ms'),
           ('bare_ms', 'bare %.1f ms'), ('overhead', 'overhead %.1f%%'), ('peak_rss_mb', 'peak memory %.0f MB'))
PERCENT = ('share_of_peak', 'share_of_product', 'overhead')


def describe(result: Dict[str, Any]) -> str:
    """Returns a line for a result: any of the keys of COLUMNS, beside what, implementation, shape."""
    numbers = [text % (result[key] * (100 if key in PERCENT else 1)) for key, text in COLUMNS if key in result]
    head = ' '.join(str(result[key]) for key in ('what', 'implementation', 'shape') if key in result)
    return '%s: %s' % (head, ', '.join(numbers))


def ratios(results: Iterable[Dict[str, Any]]) -> Iterator[str]:
    """Yields a text for each result after the first of the same case: how much faster the first one is."""
    first: Dict[Any, Dict[str, Any]] = {}
    for result in results:
        case = (result.get('what'), result.get('shape'))
        other = first.setdefault(case, result)
        for key in ('ms', 'ms_per_frame', 'ms_per_frame_cached'):
            if other is not result and key in result:
                yield '%s %s: %s is %.2f times as fast as %s (%s)' % (case + (
                    other['implementation'], result[key] / other[key], result['implementation'], key))


def check_destination(path: str) -> None:
    """Raises UserError if the folder of a result file does not exist or takes no files."""
    folder = os.path.dirname(path) or '.'
    if os.path.isdir(path) or not os.path.isdir(folder) or not os.access(folder, os.W_OK):
        raise UserError('--json=%s cannot be written: it must be a file in a folder that exists and takes files'
                        % path)
