"""Evaluates a set of clips: measures each clip, prints lines, writes pictures and files."""
import os
import sys

import numpy as np
from tqdm import tqdm

from data_tools.base import files
from data_tools.base.errors import UserError
from data_tools.media import splits
from data_tools.media.clips import find_clips
from data_tools.media.degradation import Degradation
from data_tools.media.frames import Decoder
from data_tools.media.images import write_png
from data_tools.media.shots import ShotRule
from edvr.restoration.evaluation import measure, metrics, report
from edvr.restoration.evaluation.comparison import bicubic, side_by_side
from edvr.tensorboard.event_writer import EventWriter


def load(config, scale):
    """The clips to evaluate.

    Args:
      config: EvaluateConfig.
      scale: int, output pixels per LQ pixel.
    Returns:
      list of data_tools.media.clips.Clip with LQ and GT.
    Raises:
      UserError: no clips, or LQ and GT that do not fit together.
    """
    if not config.data_dir:
        raise UserError('--data_dir is not given; name a folder with LQ and GT frames (REDS layout)')
    names, reason = splits.choose(config.clips, config.data_dir)
    clips = find_clips(config.data_dir, scale=scale, clips=names, part='test', lq_folder=config.lq_folder,
                       degradation=Degradation.if_wanted(config, scale), shots=ShotRule.from_config(config))
    if reason:
        print('clips: %s (%s)' % (', '.join(names), reason), flush=True)
    return clips


def make_folders(config):
    """Makes the folders that an EvaluateConfig writes to, so that a wrong name fails before the work.

    Raises:
      UserError: a folder cannot be made or written to.
    """
    for path in (config.json, config.csv):
        if path:
            files.make_dir(os.path.dirname(path) or '.')
    for path in (config.comparison_dir, config.summary_dir):
        if path:
            files.make_dir(path)


def evaluate_and_write(restorer, clips, restore_config, config):
    """As `evaluate`, then prints the table and writes the requested files."""
    step = restorer.step or 0
    with EventWriter(config.summary_dir) as events:
        results = evaluate(restorer, clips, config, events, restore_config.device != 'cpu')
        events.scalars(step, measure.overall(results))
    print('\n' + '\n'.join(report.table(results, config.crop_border)))
    print('network: %s' % restorer.path, flush=True)
    write(results, restorer, restore_config, config)
    return results


def evaluate(restorer, clips, config, events, concurrent_metrics=False):
    """Evaluates clips, printing the lines of each when it is done.

    Args:
      restorer: Restorer.
      clips: list of data_tools.media.clips.Clip with LQ and GT.
      config: EvaluateConfig.
      events: EventWriter, which gets the comparison pictures.
      concurrent_metrics: see `measure.evaluate_clip`.
    Returns:
      list of ClipResult.
    """
    results = []
    total = sum(_count(clip, config) for clip in clips)
    with tqdm(total=total, unit='frame', disable=None, file=sys.stderr) as progress, Decoder() as lq_decoder, \
            Decoder() as gt_decoder:
        for clip in clips:
            chosen = comparison_frames(clip, config) if config.comparison_dir or config.summary_dir else ()

            def on_frame(index, lq, sr, gt, numbers, clip=clip, chosen=chosen):
                progress.update()
                if index in chosen:
                    _compare(clip, index, lq, sr, gt, numbers, restorer, config, events)

            results.append(measure.evaluate_clip(restorer, clip, config, on_frame, concurrent_metrics,
                                                 (lq_decoder, gt_decoder)))
            for line in report.clip_lines(results[-1]):
                progress.write(line)
    print('PSNR = %s' % report.quality(measure.overall(results)), flush=True)
    return results


def write(results, restorer, restore_config, config):
    """Writes the requested JSON and CSV files."""
    if config.json:
        about = dict(checkpoint=restorer.path, step=restorer.step, data_dir=config.data_dir, fill=restore_config.fill,
                     tile=restore_config.tile, ensemble=restore_config.ensemble, crop_border=config.crop_border,
                     scale=restorer.config.upscale, num_frames=restorer.config.num_frames, lq_folder=config.lq_folder)
        degradation = Degradation.if_wanted(config, restorer.config.upscale)
        about['degradation'] = degradation and degradation.to_job()
        report.write_json(config.json, report.to_dict(results, **about))
    if config.csv:
        report.write_csv(config.csv, results)


def comparison_frames(clip, config):
    """Indices of the frames that pictures are made of, spread over the clip: set of int."""
    places = np.linspace(0, _count(clip, config), config.comparison_frames + 2)[1:-1]
    return {int(place) for place in places}


def _count(clip, config):
    return min(config.max_frames or clip.length, clip.length)


def _compare(clip, index, lq, sr, gt, numbers, restorer, config, events):
    name = '%s_%s' % (clip.name, clip.gt.name(index))
    captions = ['LQ', 'bicubic', 'restored %.2f dB' % numbers['edvr_psnr'], 'GT']
    if config.bicubic:
        captions[1] += ' %.2f dB' % numbers['bicubic_psnr']
    picture = side_by_side(list(zip(captions, [lq, bicubic(lq, restorer.config.upscale), metrics.to_uint8(sr), gt])))
    if config.comparison_dir:
        write_png(os.path.join(config.comparison_dir, name + '.png'), picture)
    if config.summary_dir:
        events.image(restorer.step or 0, 'comparison/' + name, picture)
