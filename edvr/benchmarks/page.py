"""Makes a Markdown page with plots from the JSON files of `edvr.benchmark --what=all`."""
import contextlib
import json
import os
import typing

from data_tools.base import files
from data_tools.base.errors import UserError

PAGE = 'README.md'
# text stays text, and equal results give equal files
_SVG = {'svg.fonttype': 'none', 'svg.hashsalt': 'edvr', 'font.size': 9, 'font.family': 'sans-serif'}
_COLUMNS = (('what', 'what', '%s'), ('implementation', 'implementation', '%s'), ('shape', 'shape', '%s'),
            ('ms', 'ms', '%.1f'), ('bound_ms', 'bound, ms', '%.1f'), ('share_of_peak', 'share of the peak', '%.0f %%'),
            ('share_of_product', 'share of the fastest product', '%.0f %%'),
            ('ms_cached', 'ms, features kept', '%.1f'), ('tiles', 'tiles', '%s'),
            ('cpu_s_per_megapixel', 'CPU s a megapixel', '%.1f'), ('samples_per_s', 'samples/s', '%.1f'),
            ('ms_in_memory', 'ms in memory', '%.1f'), ('frames_per_s', 'frames/s', '%.1f'),
            ('mb_per_s', 'MB/s', '%.1f'), ('mb', 'MB', '%.0f'), ('psnr', 'PSNR, dB', '%.2f'),
            ('peak_rss_mb', 'peak memory, MB', '%.0f'))
# results that a plot compares: its file, its title, the key, and which results
_PLOTS = (('step.svg', 'Training step, ms (less is better)', 'ms', 'step'),
          ('restore.svg', 'Restored frame, ms (less is better)', 'ms', 'restore'),
          ('restore_cached.svg', 'Restored frame with kept features, ms (less is better)', 'ms_cached', 'restore'))
_CURVES = 'quality.svg', 'PSNR on held-out clips over the time of training'


def make(folder: str) -> typing.List[str]:
    """Writes the page and its plots beside the JSON files.

    Args:
      folder: has at least one JSON file of `edvr.benchmark --json`.
    Returns:
      The paths of the files written.
    Raises:
      UserError: no such file, one that holds something else, or Matplotlib is not installed.
    """
    names = [name for name in os.listdir(folder) if name.endswith('.json')] if os.path.isdir(folder) else []
    if not names:
        raise UserError('%s has no JSON file; python -m edvr.benchmark --what=all --json=%s writes one'
                        % (folder, os.path.join(folder, 'MACHINE.json')))
    runs = sorted((name[:-len('.json')], _read(os.path.join(folder, name))) for name in names)
    plots = []
    for file, title, key, what in _PLOTS:
        bars = [('%s, %s' % (name, row['implementation']), row[key], row['bound_ms'] if key == 'ms' else None)
                for name, run in runs for row in run['results'] if row['what'] == what]
        if bars:
            _plot(os.path.join(folder, file), title, bars)
            plots.append((title, file))
    curves = [('%s, %s' % (name, row['implementation']), row['curve']) for name, run in runs for row in run['results']
              if 'curve' in row]
    if curves:
        _plot_curves(os.path.join(folder, _CURVES[0]), _CURVES[1], curves)
        plots.append(_CURVES[::-1])
    with open(os.path.join(folder, PAGE), 'w', encoding='utf-8') as target:
        target.write(_page(runs, plots))
    return [os.path.join(folder, file) for file in sorted([PAGE] + [file for _, file in plots])]


def _read(path):
    """Reads a result file; the time of a step and of a frame have the same key."""
    if not files.is_utf8(os.path.basename(path)):
        raise UserError('the name of %r is not valid UTF-8, so the page cannot hold it: rename it' % path)
    try:
        content = json.loads(files.read_text(path))
        for row in content['results']:
            row['ms'] = row.pop('ms_per_frame', row.get('ms'))
            for key in ('cached', 'in_memory'):
                if 'ms_per_frame_' + key in row:
                    row['ms_' + key] = row.pop('ms_per_frame_' + key)
            if 'share_of_peak' in row and 'share_of_product' not in row:   # of a version that knew products only
                row['share_of_product'] = row.pop('share_of_peak')
            for key in {'share_of_peak', 'share_of_product'} & set(row):
                row[key] *= 100
        return dict(machine=dict(content['machine']), results=content['results'])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError('%s is no result file of edvr.benchmark --json (%s: %s): remove it or make it again'
                        % (path, type(error).__name__, error)) from None


def _page(runs, plots):
    lines = ['# Benchmarks', '', 'Made by `python -m edvr.benchmark_page` of the JSON files in this folder, which '
             '`python -m edvr.benchmark --json=...` writes.',
             'The fastest product is that of large float32 matrices in the same run (TensorFlow, NumPy or the '
             'compiled operators).', 'The peak is the register block of the compiled operators with data in the '
             'first-level cache, or that product where it is faster or there is no compiler.',
             'The bound is the time at the peak; in files without a share of the peak, at the fastest product.', '']
    for title, file in plots:
        lines += ['![%s](%s)' % (title, file), '']
    for name, run in runs:
        machine = run['machine']
        facts = '; '.join('%s: %s' % (key.replace('_', ' '), machine[key]) for key in sorted(machine))
        lines += ['## ' + name, '', facts, '']
        columns = [column for column in _COLUMNS if any(row.get(column[0]) is not None for row in run['results'])]
        lines += ['| %s |' % ' | '.join(title for _, title, _ in columns), '|' + '---|' * len(columns)]
        for row in run['results']:
            lines.append('| %s |' % ' | '.join(text % row[key] if row.get(key) is not None else '' for key, _, text
                                               in columns))
        lines += [''] + _peaks(run['results'])
    return '\n'.join(lines)


def _peaks(rows):
    """Returns the range of the peaks and products of each library, as lines; none where nothing is compared."""
    peaks: typing.Dict[str, typing.List[int]] = {}
    for row in rows:
        for gflops, library in (('matmul_peak_gflops', 'matmul_peak_of'), ('product_gflops', 'product_of')):
            if library in row:
                peaks.setdefault(row[library], []).append(round(row[gflops]))
    texts = ['%s GFLOP/s by %s' % (' to '.join('%d' % gflops for gflops in sorted({min(found), max(found)})), library)
             for library, found in sorted(peaks.items())]
    return ['Peaks: %s.' % ', '.join(texts), ''] if texts else []


def _plot(path, title, bars):
    """Writes an SVG file with a bar for each (label, value, bound or None); a line across a bar marks its bound."""
    labels, values, bounds = zip(*bars)
    places = range(len(bars))
    with _figure(path, title, .25 * len(bars) + .6) as axes:
        axes.bar_label(axes.barh(places, values), fmt=' %.0f')
        axes.scatter([float('nan') if bound is None else bound for bound in bounds], places, 150, 'red', '|')
        axes.set_yticks(places, [_plain(label) for label in labels])
        axes.invert_yaxis()
        axes.margins(x=.1)


def _plot_curves(path, title, curves):
    """Writes an SVG file with a line for each (label, [[seconds, step, dB], ...])."""
    with _figure(path, title, 4.) as axes:
        for label, curve in curves:
            axes.plot([seconds for seconds, _, _ in curve], [decibels for _, _, decibels in curve], '.-',
                      label=_plain(label))
        axes.set_xlabel('seconds since the start of edvr.train')
        axes.set_ylabel('PSNR, dB')
        axes.grid(alpha=.3)
        axes.legend()


@contextlib.contextmanager
def _figure(path, title, height):
    """Yields the axes of a figure, and writes it. Raises UserError if Matplotlib is not installed."""
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError("the plots of the page need Matplotlib (%s): pip install 'edvr[page]', in a checkout pip "
                        "install '.[page]'" % error) from None
    with matplotlib.rc_context(_SVG):
        figure = Figure((7.5, height), constrained_layout=True)
        axes = figure.subplots()
        axes.set_title(title)
        yield axes
        figure.savefig(path, metadata={'Date': None})


def _plain(label):
    return label.replace('$', r'\$')   # else a formula
