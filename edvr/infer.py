"""Restores clips and videos with a trained network or an exported graph.

    python -m edvr.infer --checkpoint=train --input=clips --output=restored            PNG frames, a folder per clip
    python -m edvr.infer --checkpoint=EDVR.pb --input=movie.mp4 --output=movie_x4.mp4   a video, with its audio

An interrupted run into a folder goes on at the first missing frame. A video appears when it is whole.
"""
import contextlib
import hashlib
import os
import signal
import sys
import time
from fractions import Fraction

from tqdm import tqdm

from data_tools.base import files
from data_tools.base.errors import UserError
from data_tools.media import splits, video
from data_tools.media.shots import ShotRule
from edvr import checkpoints, flags
from edvr.config.infer import InferConfig
from edvr.config.restoration import RestoreConfig
from edvr.restoration import clip_source
from edvr.restoration.evaluation.metrics import to_uint8
from edvr.restoration.graph.loading import is_exported
from edvr.restoration.output.background_writer import BackgroundWriter
from edvr.restoration.output.png_folder import PngFolder
from edvr.restoration.output.video_writer import CONTAINERS, VideoWriter
from edvr.restoration.restorer import Restorer

RATE_OF_IMAGES = Fraction(25)


def main():
    # an exception, so that partial files go
    signal.signal(signal.SIGTERM, lambda *unused: sys.exit(128 + signal.SIGTERM))
    config, restore_config = flags.build_all(InferConfig, RestoreConfig)
    _is_video(config.output)   # before the network is loaded
    with Restorer.from_config(restore_config) as restorer:
        infer(restorer, restore_config, config)


def infer(restorer, restore_config, config):
    """Restores what `config` names.

    Args:
      restorer: Restorer, made from restore_config.
      restore_config: RestoreConfig. config: InferConfig.
    Returns:
      int, frames restored.
    Raises:
      UserError: input or output that cannot be used; frames already written stay and the next run goes on there.
    """
    to_video = _is_video(config.output)
    sources = _find(config, restorer.config.upscale)
    _check_output(config.output, sources, to_video)
    started = time.time()
    if to_video:
        count = _restore_to_video(restorer, sources[0], config)
    else:
        count = _restore_to_folders(restorer, sources, _settings(restore_config), config)
    seconds = time.time() - started
    if count:
        print('restored %d frames with %s in %.1f s, %.2f frames/s: %s'
              % (count, restorer.path, seconds, count / seconds, config.output))
    else:
        print('nothing to do: all frames are in %s (--overwrite restores them again)' % config.output)
    return count


def _is_video(output):
    suffix = os.path.splitext(output)[1].lower()
    if suffix in CONTAINERS:
        return True
    if suffix in video.SUFFIXES:
        raise UserError('--output=%s: videos are written as %s' % (output, ' '.join(sorted(CONTAINERS))))
    return False


def _find(config, scale):
    """The sources, with a count of frames while a video is looked through, and what the user should know of it."""
    names, reason = splits.choose(config.clips, config.input)
    with _bar(None, 'looking through the video') as bar:
        sources = clip_source.find(config.input, scale, names, config.allow_gaps, config.allow_damaged,
                                   lambda count: bar.update(count - bar.n), ShotRule.from_config(config))
    if reason:
        print('clips: %s (%s)' % (', '.join(names), reason), flush=True)
    info = sources[0].video
    if info and not info.constant_rate:
        print('note: %s has a variable frame rate; a written video gets its average, %.3f frames/s'
              % (config.input, float(info.rate)))
    if info and info.bits > 8:
        print('note: %s has %d bits a channel (%s); it is restored from 8'
              % (config.input, info.bits, info.pixel_format))
    return sources


def _check_output(output, sources, to_video):
    if to_video and len(sources) > 1:
        raise UserError('--output=%s is one video, but --input has %d clips: choose one with --clips, or give a folder'
                        % (output, len(sources)))
    for source in sources:
        target = output if to_video else _folder(output, source, sources)
        if os.path.realpath(target) == os.path.realpath(source.path):
            raise UserError('--output=%s would write over the input %s: give another one' % (output, source.path))


def _folder(output, source, sources):
    return os.path.join(output, source.name) if len(sources) > 1 else output


def _restore_to_folders(restorer, sources, settings, config):
    """PNG frames of all clips; returns how many were restored."""
    folders = [PngFolder(_folder(config.output, source, sources), source.names, _record(settings, source),
                         config.overwrite) for source in sources]
    missing = sum(source.length - folder.first for source, folder in zip(sources, folders))
    if missing < sum(source.length for source in sources):
        print('%d frames are there already' % (sum(source.length for source in sources) - missing))
    with _bar(missing, 'restoring') as bar:
        for source, folder in zip(sources, folders):
            if folder.first < source.length:
                with BackgroundWriter(folder.write, config.writers, 2 * config.writers) as writer:
                    _restore(restorer, source, folder.first, writer, bar)
                    _say_if_done(bar)
    return missing


def _record(settings, source):
    """What decides the restored frames of a source."""
    shots = {'shots': [list(shot) for shot in source.shots]} if len(source.shots) > 1 else {}
    return dict(settings, frames=source.length, **shots)


def _restore_to_video(restorer, source, config):
    """One video; returns how many frames were restored."""
    if os.path.exists(config.output) and not config.overwrite:
        raise UserError('%s exists: give another --output, or --overwrite to replace it' % config.output)
    rate = Fraction(config.fps).limit_denominator(1001) or (source.video.rate if source.video else RATE_OF_IMAGES)
    folder, name = os.path.split(os.path.abspath(config.output))
    files.make_dir(folder)
    files.remove_partials(folder, name)   # of a run that was killed
    encoder = VideoWriter(config.output, rate, config.crf, config.codec, source.video, config.audio)
    if encoder.copies_audio is False:
        print('note: %s audio does not go into this kind of file as it is and is encoded again'
              % ', '.join(source.video.audio))
    with encoder, BackgroundWriter(lambda index, sr: encoder.write(to_uint8(sr)), threads=1) as writer, \
            _bar(source.length, 'restoring') as bar:
        _restore(restorer, source, 0, writer, bar)
        _say_if_done(bar)
    return source.length


def _restore(restorer, source, first, writer, bar):
    """Restores a clip from frame `first` on, each of its shots by itself."""
    try:
        with contextlib.closing(clip_source.restore(restorer, source, first)) as restored:
            for index, sr in enumerate(restored, first):
                writer.put(index, sr)
                bar.update()
    except UserError as error:
        raise UserError('clip %s: %s' % (source.name, error)) from error


def _settings(config):
    """What decides how a restored frame looks, for the record beside the frames."""
    if is_exported(config.checkpoint):
        path = config.checkpoint
        path = os.path.join(path, 'saved_model.pb') if os.path.isdir(path) else path
    else:
        path = checkpoints.latest(config.checkpoint) + '.index'   # holds the checksum of every variable
    with open(path, 'rb') as file:
        digest = hashlib.sha256(file.read()).hexdigest()[:16]
    return dict(network='%s (%s)' % (os.path.basename(path), digest), fill=config.fill, ensemble=config.ensemble,
                use_ema=config.use_ema)


def _bar(total, what):
    # into a log file a line now and then is enough
    return tqdm(total=total, desc=what, unit='frame', file=sys.stderr, mininterval=0.1 if sys.stderr.isatty() else 30,
                delay=0 if total else 2)


def _say_if_done(bar):
    if bar.n >= bar.total:
        bar.refresh()
        bar.write('all frames are restored; the last files are still being written', file=sys.stderr)


if __name__ == '__main__':
    flags.run(main, InferConfig, RestoreConfig)
