"""Measures a trained network on clips that have a ground truth: PSNR and SSIM beside bicubic interpolation.

    python -m edvr.evaluate --checkpoint=runs/1p --data_dir=REDS/train --clips=REDS4
    python -m edvr.evaluate --checkpoint=runs/1p --data_dir=REDS/train --clips=REDS4 --watch     follows a training
"""
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
from edvr import flags
from edvr.config.restoration import EvaluateConfig, RestoreConfig
from edvr.restoration.evaluation import measure, metrics, report, watch
from edvr.restoration.evaluation.comparison import bicubic, side_by_side
from edvr.restoration.restorer import Restorer
from edvr.tensorboard.event_writer import EventWriter


def evaluate(restorer, clips, restore_config, config, events):
    """Evaluates clips, printing the lines of each when it is done.

    Args:
      restorer: Restorer.
      clips: list of data_tools.media.clips.Clip with LQ and GT.
      restore_config: RestoreConfig.
      config: EvaluateConfig.
      events: EventWriter.
    Returns:
      list of ClipResult.
    """
    results = []
    total = sum(_count(clip, config) for clip in clips)
    with tqdm(total=total, unit='frame', disable=None, file=sys.stderr) as progress, Decoder() as lq_decoder, \
            Decoder() as gt_decoder:
        for clip in clips:
            chosen = _comparison_frames(clip, config) if config.comparison_dir or config.summary_dir else ()

            def on_frame(index, lq, sr, gt, numbers, clip=clip, chosen=chosen):
                progress.update()
                if index in chosen:
                    _compare(clip, index, lq, sr, gt, numbers, restorer, config, events)

            results.append(measure.evaluate_clip(restorer, clip, config, on_frame, restore_config.device != 'cpu',
                                                 (lq_decoder, gt_decoder)))
            for line in report.clip_lines(results[-1]):
                progress.write(line)
    print('PSNR = %s' % report.quality(measure.overall(results)), flush=True)
    return results


def _count(clip, config):
    return min(config.max_frames or clip.length, clip.length)


def _comparison_frames(clip, config):
    """Indices of frames spread over the clip; one is its middle."""
    places = np.linspace(0, _count(clip, config), config.comparison_frames + 2)[1:-1]
    return {int(place) for place in places}


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


def _check_outputs(config):
    """Makes the folders, so that a wrong name fails before the work and not after it."""
    for path in (config.json, config.csv):
        if path:
            files.make_dir(os.path.dirname(path) or '.')
    for path in (config.comparison_dir, config.summary_dir):
        if path:
            files.make_dir(path)


def write_results(results, restorer, restore_config, config):
    """Writes the JSON and CSV files that are asked for."""
    if config.json:
        about = dict(checkpoint=restorer.path, step=restorer.step, data_dir=config.data_dir, fill=restore_config.fill,
                     tile=restore_config.tile, ensemble=restore_config.ensemble, crop_border=config.crop_border,
                     scale=restorer.config.upscale, num_frames=restorer.config.num_frames, lq_folder=config.lq_folder)
        degradation = Degradation.if_wanted(config, restorer.config.upscale)
        about['degradation'] = degradation and degradation.to_job()
        report.write_json(config.json, report.to_dict(results, **about))
    if config.csv:
        report.write_csv(config.csv, results)


def load_clips(config, scale):
    """The clips of an EvaluateConfig, checked: list of data_tools.media.clips.Clip."""
    if not config.data_dir:
        raise UserError('--data_dir is not given; name a folder with LQ and GT frames (REDS layout)')
    names, reason = splits.choose(config.clips, config.data_dir)
    clips = find_clips(config.data_dir, scale=scale, clips=names, part='test', lq_folder=config.lq_folder,
                       degradation=Degradation.if_wanted(config, scale), shots=ShotRule.from_config(config))
    if reason:
        print('clips: %s (%s)' % (', '.join(names), reason), flush=True)
    return clips


def main():
    restore_config, config = flags.build_all(RestoreConfig, EvaluateConfig)
    _check_outputs(config)
    if config.watch:
        watch.follow(restore_config, config, load_clips,
                     lambda restorer, clips: _evaluate_and_write(restorer, clips, restore_config, config))
        return
    with Restorer.from_config(restore_config) as restorer:
        _evaluate_and_write(restorer, load_clips(config, restorer.config.upscale), restore_config, config)


def _evaluate_and_write(restorer, clips, restore_config, config):
    step = restorer.step or 0
    with EventWriter(config.summary_dir) as events:
        results = evaluate(restorer, clips, restore_config, config, events)
        events.scalars(step, measure.overall(results))
    print('\n' + '\n'.join(report.table(results, config.crop_border)))
    print('network: %s' % restorer.path, flush=True)
    write_results(results, restorer, restore_config, config)
    return results


if __name__ == '__main__':
    flags.run(main, RestoreConfig, EvaluateConfig)
