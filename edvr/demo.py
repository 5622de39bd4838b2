"""The whole line from nothing: sample clips -> TFRecords -> training -> evaluation -> restored frames -> frozen graph.

Every station is the program a user would call, and its command is shown. Stations that are done are skipped when the
demonstration is run again; an interrupted training continues. It ends with a table, which is also in summary.json.
"""
import os
import re
import signal
import statistics
import subprocess
import sys
import time

import numpy as np

from data_tools.base.errors import UserError
from data_tools.base.files import read_json, remove, write_json
from data_tools.media.images import read_image
from edvr import flags
from edvr.config.demo import DemoConfig

MARK = '.edvr_demo'           # a folder without it is not ours to delete
TRAIN_CLIPS, HELD_OUT_CLIPS = 10, ('010', '011')
FLAGFILE = 'flags/demo.cfg'


class Station:
    """One program of the line: its command, and what it makes that a changed input would turn stale."""

    def __init__(self, name, module, arguments, stale=()):
        self.name, self.module, self.stale = name, module, stale
        self.command = ['-m', module] + arguments


def stations(out, steps):
    """The line, in order: list of Station."""
    def path(*parts):
        return os.path.join(out, *parts)
    held_out = ','.join(HELD_OUT_CLIPS)
    lq_clip = path('clips', 'images', 'blur4', HELD_OUT_CLIPS[0])
    return [
        Station('clips', 'data_tools.make_sample_clips',
                ['--output_dir=' + path('clips'), '--num_clips=%d' % (TRAIN_CLIPS + len(HELD_OUT_CLIPS)),
                 '--num_frames=12', '--gt_size=384x512', '--seed=1'], ['clips']),
        Station('tfrecords', 'data_tools.make_tfrecords',
                ['--data_dir=' + path('clips'), '--output_dir=' + path('tfrecords'), '--exclude=' + held_out],
                ['tfrecords']),
        Station('train', 'edvr.train',
                ['--flagfile=' + FLAGFILE, '--data_dir=' + path('tfrecords'), '--model_dir=' + path('model'),
                 '--steps=%d' % steps, '--cosine_periods=%d' % steps, '--val_dir=' + path('clips'),
                 '--val_clips=' + held_out, '--eval_every=%d' % max(1, steps // 2), '--eval_frames=3',
                 '--override_config']),
        Station('evaluate', 'edvr.evaluate',
                ['--checkpoint=' + path('model'), '--data_dir=' + path('clips'), '--clips=' + held_out,
                 '--json=' + path('evaluation.json'), '--comparison_dir=' + path('comparison')],
                ['comparison', 'evaluation.json']),
        Station('restore', 'edvr.infer',
                ['--checkpoint=' + path('model'), '--input=' + lq_clip, '--output=' + path('restored')], ['restored']),
        Station('export', 'edvr.export', ['--checkpoint=' + path('model'), '--output=' + path('EDVR.pb')],
                ['EDVR.pb', 'EDVR.json']),
        Station('restore_by_graph', 'edvr.infer',
                ['--checkpoint=' + path('EDVR.pb'), '--input=' + lq_clip, '--output=' + path('restored_by_graph')],
                ['restored_by_graph']),
    ]


def prepare(out, fresh):
    """Makes the folder, or empties it when `fresh` and an earlier demonstration made it."""
    marks = os.path.join(out, MARK)
    if os.path.isdir(out) and os.listdir(out) and not os.path.isdir(marks):
        raise UserError('--output_dir=%s holds files that no demonstration made; name another folder' % out)
    if fresh:
        remove(out)
    os.makedirs(marks, exist_ok=True)


def run_line(out, line):
    """Runs the stations that are not done, and all after them; returns the seconds that the whole line has taken."""
    for number, station in enumerate(line):
        mark = _mark(out, station)
        if os.path.exists(mark) and read_json(mark)['command'] == station.command:
            print('== %s: done before' % station.name, flush=True)
            continue
        if os.path.exists(mark):     # by another command; without a mark it was interrupted, and continues
            forget(out, station)
        for later in line[number + 1:]:     # before it runs: should this be killed, no old result counts as new
            forget(out, later)
        run_station(out, station)
    return sum(read_json(_mark(out, station))['seconds'] for station in line)


def forget(out, station):
    """Removes what a station has made and the mark that it is done."""
    for name in station.stale:
        remove(os.path.join(out, name))
    remove(_mark(out, station))


def _mark(out, station):
    return os.path.join(out, MARK, station.name)


def run_station(out, station):
    """Runs one program and marks it as done; what it prints is also kept in NAME.log. Raises UserError if it fails."""
    print('== %s: python %s' % (station.name, ' '.join(station.command)), flush=True)
    start = time.time()
    log = os.path.join(out, station.name + '.log')
    code = run_logged([sys.executable] + station.command, log)
    if code:
        raise UserError('%s ended with exit code %d (its output: %s). Run the demonstration again to continue, '
                        'or with --fresh to start over' % (station.module, code, log))
    write_json(_mark(out, station), {'command': station.command, 'seconds': time.time() - start})


def run_logged(command, log):
    """Runs a command, shows what it prints and appends it to the file `log`; returns its exit code.

    Ctrl-C and SIGTERM are passed on: the program saves what it can and has the last word.
    """
    with open(log, 'a') as file:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True,
                                   start_new_session=True)
        before = {number: signal.signal(number, lambda number, frame: process.send_signal(number))
                  for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            for line in process.stdout:
                sys.stdout.write(line)
                sys.stdout.flush()
                file.write(line)
            return process.wait()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def largest_difference(first, second):
    """Largest difference, in gray levels of 255, between the PNG frames of two folders."""
    names = sorted(name for name in os.listdir(first) if name.endswith('.png'))
    if not names or names != sorted(name for name in os.listdir(second) if name.endswith('.png')):
        raise UserError('%s and %s do not hold the same frames' % (first, second))
    return max(int(np.abs(read_image(os.path.join(first, name)).astype(int)
                          - read_image(os.path.join(second, name))).max()) for name in names)


def report(out, seconds):
    """Prints the closing table and writes summary.json; raises UserError where the frozen graph's frames differ."""
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


def main():
    config = flags.build(DemoConfig)
    prepare(config.output_dir, config.fresh)
    seconds = run_line(config.output_dir, stations(config.output_dir, config.steps))
    report(config.output_dir, config.seconds_before + seconds)


if __name__ == '__main__':
    flags.run(main, DemoConfig)
