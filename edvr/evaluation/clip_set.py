"""Evaluates a set of clips: measures each clip, prints lines, writes pictures and files."""
import contextlib
import os
import typing

import numpy as np

from data_tools.base import files
from data_tools.base.errors import UserError
from data_tools.base.progress import progress_bar
from data_tools.media import comparison_page, splits
from data_tools.media.clips import Clip, find_clips
from data_tools.media.comparison import side_by_side
from data_tools.media.degradation import Degradation
from data_tools.media.frames import Decoder
from data_tools.media.images import write_png
from data_tools.media.imresize import enlarge
from data_tools.media.shots import ShotRule
from edvr.config.restoration import EvaluateConfig, RestoreConfig
from edvr.devices import DEVICES
from edvr.evaluation import measure, report
from edvr.evaluation.temporal import SEQUENCES
from edvr.restore import pixels
from edvr.sharing import splitting
from edvr.tensorboard.event_writer import EventWriter


def load(config: EvaluateConfig, scale: int) -> typing.List[Clip]:
    """Finds the clips to evaluate, with LQ and GT.

    Args:
      config: the data set and the choice of clips.
      scale: output pixels per LQ pixel.
    Raises:
      UserError: no clips, or LQ and GT that do not fit together.
    """
    if not config.data_dir:
        raise UserError('--data_dir is not given; name a folder with LQ and GT frames (REDS layout)')
    names, reason = splits.choose(config.clips, config.data_dir)
    clips = find_clips(config.data_dir, scale=scale, clips=names, part='test', lq_folder=config.lq_folder,
                       degradation=Degradation.if_wanted(config, scale, config.seed),
                       shots=ShotRule.from_config(config))
    if names and reason:
        print('clips: %s (%s)' % (', '.join(names), reason), flush=True)
    return clips


def make_ready(config: EvaluateConfig) -> None:
    """Makes the folders that an EvaluateConfig writes to and tries its metrics, so that both fail before the work.

    Raises:
      UserError: a folder cannot be made or written to, or a metric cannot be measured.
    """
    for name in config.temporal:
        SEQUENCES[name].check()
    for path in (config.json, config.csv):
        if path:
            files.make_dir(os.path.dirname(path) or '.')
    for path in (config.comparison_dir, config.summary_dir):
        if path:
            files.make_dir(path)


def evaluate_and_write(workers: typing.Any, clips: typing.Sequence[Clip], restore_config: RestoreConfig,
                       config: EvaluateConfig) -> typing.List[measure.ClipResult]:
    """Evaluates as `evaluate`, then prints the table and writes the requested files."""
    network, step = workers.network, workers.network.step or 0
    with EventWriter(config.summary_dir) as events:
        results = evaluate(workers, clips, config, events, not DEVICES[restore_config.device].ON_HOST)
        events.scalars(step, measure.overall(results))
    print('\n' + '\n'.join(report.table(results, config.crop_border)))
    print('network: %s' % network.path, flush=True)
    write(results, network, restore_config, config)
    return results


def evaluate(workers: typing.Any, clips: typing.Sequence[Clip], config: EvaluateConfig, events: EventWriter,
             concurrent_metrics: bool = False) -> typing.List[measure.ClipResult]:
    """Evaluates clips, printing the lines of each when it is done.

    Args:
      workers: sharing.workers.ThisProcess or WorkerProcesses.
      clips: have LQ and GT.
      config: the frames to evaluate, and what to measure.
      events: gets the comparison pictures.
      concurrent_metrics: measure frames while the next ones are restored; for accelerators.
    """
    counts = [measure.num_frames(clip, config) for clip in clips]
    whole = [splitting.FrameRange(number, 0, count) for number, count in enumerate(counts)]
    shares = splitting.split(whole, workers.size, [clip.gt.size[0] * clip.gt.size[1] for clip in clips],
                             least=max(counts) if config.temporal else workers.network.config.num_frames)
    tasks = [_Task(config, concurrent_metrics, [(clips[number], first, end) for number, first, end in share])
             for share in shares]
    results: typing.List[measure.ClipResult] = []
    pages: typing.List[comparison_page.Picture] = []
    with progress_bar(total=sum(counts), unit='frame') as bar, \
            contextlib.closing(workers.do(_evaluate, tasks, bar)) as found:
        for result, compared in _complete_clips(found, counts):
            results.append(result)
            pages += _shown(result, compared) if config.comparison_dir else []
            for frame in compared if config.summary_dir else ():
                events.image(workers.network.step or 0, 'comparison/%s_%s' % (result.name, frame.frame),
                             side_by_side(frame.panels))
            for line in report.clip_lines(result):
                bar.write(line)
    print('PSNR = %s' % report.quality(measure.overall(results)), flush=True)
    if pages:
        path = os.path.join(config.comparison_dir, comparison_page.NAME)
        comparison_page.write(path, 'Evaluation of ' + os.path.basename(workers.network.path), pages,
                              report.table(results, config.crop_border))
        print('page to compare: %s' % path, flush=True)
    return results


def _shown(result, compared):
    """Returns the pictures of a clip for the page."""
    return [comparison_page.Picture(result.name, frame.frame, [comparison_page.Panel.of(label, image, frame.profile)
                                                               for label, image in frame.panels[1:]],
                                    report.numbers_of(result.frames[frame.number])) for frame in compared]


class _Task(typing.NamedTuple):
    """The share of one worker.

    Attributes:
      config: the EvaluateConfig.
      concurrent_metrics: measure frames while the next ones are restored.
      ranges: (clip, first, end) each.
    """
    config: typing.Any
    concurrent_metrics: bool
    ranges: list


class _Compared(typing.NamedTuple):
    """Holds the versions of one frame.

    Attributes:
      number: of the frame in its clip.
      frame: its name.
      panels: label and image of each version.
      profile: the ICC profile of their values, b'' for none.
    """
    number: int
    frame: str
    panels: typing.List[typing.Tuple[str, np.ndarray]]
    profile: bytes = b''


def _evaluate(restorer, task, progress):
    """Yields (ClipResult, list of _Compared) for each range of a _Task."""
    config = task.config
    with Decoder() as lq_decoder, Decoder() as gt_decoder:
        for clip, first, end in task.ranges:
            chosen = comparison_frames(clip, config) if config.comparison_dir or config.summary_dir else ()
            pictures: typing.List[_Compared] = []

            def on_frame(index, lq, sr, gt, numbers, clip=clip, chosen=chosen, pictures=pictures):
                progress.update()
                if index in chosen:
                    pictures.append(_compare(clip, index, lq, sr, gt, numbers, restorer, config))

            result = measure.evaluate_clip(restorer, clip, config, on_frame, task.concurrent_metrics,
                                           (lq_decoder, gt_decoder), first, end)
            yield result, pictures


def _complete_clips(found, counts):
    """Yields (ClipResult, list of _Compared) of each clip.

    Args:
      found: yields those of its ranges.
      counts: the frames of the clips.
    """
    for count in counts:
        frames: typing.List[measure.Numbers] = []
        seconds: typing.List[float] = []
        compared: typing.List[_Compared] = []
        while len(frames) < count:
            result, pictures = next(found)
            frames += result.frames
            seconds += result.seconds
            compared += pictures
        yield result._replace(frames=frames, seconds=seconds), compared


def write(results: typing.Sequence[measure.ClipResult], network: typing.Any, restore_config: RestoreConfig,
          config: EvaluateConfig) -> None:
    """Writes the requested JSON and CSV files."""
    if config.json:
        about = dict(checkpoint=network.path, step=network.step, data_dir=config.data_dir,
                     fill=restore_config.for_network(network.config).fill,
                     tile=restore_config.tile, ensemble=restore_config.ensemble, crop_border=config.crop_border,
                     scale=network.config.upscale, num_frames=network.config.num_frames, lq_folder=config.lq_folder)
        degradation = Degradation.if_wanted(config, network.config.upscale, config.seed)
        about['degradation'] = degradation and degradation.to_job()
        report.write_json(config.json, report.to_dict(results, **about))
    if config.csv:
        report.write_csv(config.csv, results)


def comparison_frames(clip: Clip, config: EvaluateConfig) -> typing.Set[int]:
    """Returns the indices of the frames that pictures are made of, spread over the clip."""
    places = np.linspace(0, measure.num_frames(clip, config), config.comparison_frames + 2)[1:-1]
    return {int(place) for place in places}


def _compare(clip, index, lq, sr, gt, numbers, restorer, config):
    """Returns the _Compared of a frame; writes its picture if config requests it."""
    captions = ['LQ', 'bicubic', 'restored %.2f dB' % numbers['edvr_psnr'], 'GT']
    if config.bicubic:
        captions[1] += ' %.2f dB' % numbers['bicubic_psnr']
    panels = list(zip(captions, [lq, enlarge(lq, restorer.config.upscale), pixels.to_uint8(sr), gt]))
    frame = clip.gt.name(index)
    if config.comparison_dir:
        write_png(os.path.join(config.comparison_dir, '%s_%s.png' % (clip.name, frame)), side_by_side(panels),
                  profile=clip.profile)
    return _Compared(index, frame, panels, clip.profile)
