"""A Markdown page with plots, made of the JSON files of `edvr.benchmark --what=all`."""
import html
import json
import os

from data_tools.base import files
from data_tools.base.errors import UserError

PAGE = 'README.md'
_BAR, _LEFT, _WIDTH = 22, 260, 420   # pixels of a plot: height of a row, width of the labels, longest bar
_COLUMNS = (('what', 'what', '%s'), ('implementation', 'implementation', '%s'), ('shape', 'shape', '%s'),
            ('ms', 'ms', '%.1f'), ('bound_ms', 'bound, ms', '%.1f'), ('share_of_peak', 'share of the peak', '%.0f %%'),
            ('ms_cached', 'ms, features kept', '%.1f'), ('tiles', 'tiles', '%s'),
            ('cpu_s_per_megapixel', 'CPU s a megapixel', '%.1f'), ('samples_per_s', 'samples/s', '%.1f'),
            ('peak_rss_mb', 'peak memory, MB', '%.0f'))
# results that a plot compares: its file, its title, the key, and which results
_PLOTS = (('step.svg', 'Training step, ms (less is better)', 'ms', 'step'),
          ('restore.svg', 'Restored frame, ms (less is better)', 'ms', 'restore'),
          ('restore_cached.svg', 'Restored frame with kept features, ms (less is better)', 'ms_cached', 'restore'))


def make(folder):
    """Writes the page and its plots beside the JSON files.

    Args:
      folder: str, with at least one JSON file of `edvr.benchmark --json`.
    Returns:
      list of str, the files written.
    Raises:
      UserError: no such file, or one that holds something else.
    """
    names = [name for name in os.listdir(folder) if name.endswith('.json')] if os.path.isdir(folder) else []
    if not names:
        raise UserError('%s has no JSON file; python -m edvr.benchmark --what=all --json=%s writes one'
                        % (folder, os.path.join(folder, 'MACHINE.json')))
    runs = sorted((name[:-len('.json')], _read(os.path.join(folder, name))) for name in names)
    written = {}
    for file, title, key, what in _PLOTS:
        bars = [('%s, %s' % (name, row['implementation']), row[key], row['bound_ms'] if key == 'ms' else None)
                for name, run in runs for row in run['results'] if row['what'] == what]
        if bars:
            written[file] = _plot(title, bars)
    written[PAGE] = _page(runs, [(title, file) for file, title, _, _ in _PLOTS if file in written])
    for file, text in written.items():
        with open(os.path.join(folder, file), 'w', encoding='utf-8') as target:
            target.write(text)
    return [os.path.join(folder, file) for file in sorted(written)]


def _read(path):
    """The content of a result file; the time of a step and of a frame have the same key."""
    if not files.is_utf8(os.path.basename(path)):
        raise UserError('the name of %r is not valid UTF-8, so the page cannot hold it: rename it' % path)
    try:
        with open(path, encoding='utf-8') as file:
            content = json.load(file)
        for row in content['results']:
            row['ms'] = row.pop('ms_per_frame', row.get('ms'))
            if 'ms_per_frame_cached' in row:
                row['ms_cached'] = row.pop('ms_per_frame_cached')
            if 'share_of_peak' in row:
                row['share_of_peak'] *= 100
        return dict(machine=dict(content['machine']), results=content['results'])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError('%s is no result file of edvr.benchmark --json (%s: %s): remove it or make it again'
                        % (path, type(error).__name__, error)) from None


def _page(runs, plots):
    lines = ['# Benchmarks', '', 'Made by `python -m edvr.benchmark_page` of the JSON files in this folder, which '
             '`python -m edvr.benchmark --json=...` writes.',
             'The peak is the fastest float32 matrix product of the same run ('
             'TensorFlow, NumPy or the compiled operators); the bound is the time at that peak.', '']
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
    """The range of the peaks of each library, as lines; none where nothing is compared with a peak."""
    peaks = {}
    for row in rows:
        if 'matmul_peak_of' in row:
            peaks.setdefault(row['matmul_peak_of'], []).append(round(row['matmul_peak_gflops']))
    texts = ['%s GFLOP/s by %s' % (' to '.join('%d' % gflops for gflops in sorted({min(found), max(found)})), library)
             for library, found in sorted(peaks.items())]
    return ['Peaks: %s.' % ', '.join(texts), ''] if texts else []


def _plot(title, bars):
    """A horizontal bar for each (label, value, bound or None) as SVG; a line across a bar marks its bound."""
    longest, height = max(value for _, value, _ in bars), _BAR * (len(bars) + 1) + 8
    rows = ['<text x="4" y="15" font-weight="bold">%s</text>' % html.escape(title)]
    for index, (label, value, bound) in enumerate(bars, 1):
        y, length = _BAR * index + 4, _WIDTH * value / longest
        rows.append('<text x="%d" y="%d" text-anchor="end">%s</text>' % (_LEFT - 6, y + 13, html.escape(label)))
        rows.append('<rect x="%d" y="%d" width="%.1f" height="%d" fill="#4a7ebb"/>' % (_LEFT, y, length, _BAR - 6))
        rows.append('<text x="%.1f" y="%d">%.0f</text>' % (_LEFT + length + 5, y + 13, value))
        if bound is not None:
            x = _LEFT + _WIDTH * bound / longest
            rows.append('<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="#c03030" stroke-width="2"/>'
                        % (x, x, y - 1, y + _BAR - 5))
    return ('<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">\n'
            '<rect width="100%%" height="100%%" fill="white"/>\n%s\n</svg>\n'
            % (_LEFT + _WIDTH + 70, height, '\n'.join(rows)))
