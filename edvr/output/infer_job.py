"""A restoration from its configuration: finds the clips, checks the output, writes folders or a video."""
import datetime
import hashlib
import os
import re
import time

from data_tools.base import beam_options
from data_tools.base.errors import UserError
from data_tools.media import splits, video
from data_tools.media.shots import ShotRule
from edvr import checkpoints
from edvr.exporting import description
from edvr.output import progress
from edvr.output.containers import CONTAINERS
from edvr.output.folders import folder_of, restore_to_folders
from edvr.output.preview import places, preview
from edvr.output.videos import restore_to_video
from edvr.restore.restorer import Network
from edvr.sharing import clip_source


def restore(workers, restore_config, config):
    """Restores what `config` names.

    Args:
      workers: sharing.workers.ThisProcess or WorkerProcesses, of the network that restore_config names.
      restore_config: RestoreConfig.
      config: InferConfig.
    Returns:
      int, frames restored.
    Raises:
      UserError: input or output that cannot be used; written frames stay, and the next run continues after them.
    """
    to_video = check_output_name(config.output)
    if to_video and config.part:
        raise UserError('--part restores clips to folders; --output=%s is one video' % config.output)
    sources = find_sources(config, workers.network)
    check_output(config.output, sources, to_video)
    share, alone = share_of(sources, config), len(sources) == 1
    # name the checkpoint in use: a training may have written a newer one since
    settings = settings_of(restore_config.replace(checkpoint=workers.network.path))
    started = time.time()
    if to_video:
        count = restore_to_video(workers, sources[0], config.output, settings, config.fps, config.crf, config.codec,
                                 config.audio, config.bits, config.overwrite)
    else:
        count = restore_to_folders(workers, share, config.output, settings, alone, config.overwrite,
                                   config.writers, config.share)
    report(count, workers.network, config.output, time.time() - started)
    return count


def show(restorer, config):
    """Writes the pictures of --preview and prints an estimate. Args and errors as of `restore`; restorer: Restorer."""
    to_video = check_output_name(config.output)
    sources = find_sources(config, restorer)
    check_output(config.output, sources, to_video)
    folder, seconds, size = preview(restorer, sources[0], config.preview, config.output, config.codec, config.crf)
    frames = sum(source.length for source in sources)
    print('%d comparison pictures: %s' % (len(places(sources[0].length, config.preview)), folder))
    print('estimate for %d frames like these: %.2f s a frame, %s in all, about %.3g MB'
          % (frames, seconds, datetime.timedelta(seconds=round(seconds * frames)), size * frames / 1e6))

def restore_with_beam(restore_config, config):
    """As `restore`, by the workers of Apache Beam, each of which loads the network.

    Args:
      restore_config: RestoreConfig. config: InferConfig with a runner.
    Returns:
      int, frames restored.
    Raises:
      UserError: see `restore` and `beam_runner.run`; the output is one video, or a preview is requested.
    """
    beam_options.parse(config)
    if check_output_name(config.output):
        raise UserError('--runner restores to folders of frames; --output=%s is one video' % config.output)
    if config.preview:
        raise UserError('--preview=%d with --runner: a preview needs no runner; leave --runner out' % config.preview)
    config = config.replace(input=beam_options.absolute(config.input), output=beam_options.absolute(config.output))
    network = Network.at(beam_options.absolute(restore_config.checkpoint))
    sources = find_sources(config, network)
    check_output(config.output, sources, False)
    restore_config = restore_config.replace(checkpoint=network.path)   # not a newer one that a training writes
    from edvr.output import beam_restoring  # needs Beam
    return beam_restoring.restore(network, sources, settings_of(restore_config), restore_config, config)


def check_output_name(output):
    """Whether a name is that of a video (bool) and not of a folder.

    Raises:
      UserError: the suffix is of no video that can be written, and the output is no folder and ends in no slash.
    """
    suffix = os.path.splitext(output)[1].lower()
    if suffix in CONTAINERS:
        return True
    if suffix in video.SUFFIXES or (re.match(r'\.[a-z][a-z0-9]{1,4}$', suffix) and not os.path.isdir(output)):
        raise UserError('--output=%s: videos are written as %s; a folder of this name takes a / at its end'
                        % (output, ' '.join(sorted(CONTAINERS))))
    return False


def settings_of(config):
    """The settings on which restored frames depend, for the record beside the frames: dict of JSON values.

    Args:
      config: RestoreConfig.
    """
    if description.is_exported(config.checkpoint):
        path = description.find(config.checkpoint).identifying
    else:
        path = checkpoints.latest(config.checkpoint) + '.index'   # holds the checksum of every variable
    with open(path, 'rb') as file:
        digest = hashlib.sha256(file.read()).hexdigest()[:16]
    return dict(network='%s (%s)' % (os.path.basename(path), digest), fill=config.fill, ensemble=config.ensemble,
                use_ema=config.use_ema, exact=config.exact, compute=config.compute)


def find_sources(config, network):
    """The sources for a Restorer or a Network: list of Source; prints notes about them."""
    names, reason = splits.choose(config.clips, config.input)
    with progress.bar(None, 'scanning the video') as bar:
        sources = clip_source.find(config.input, network.config.upscale, names, config.allow_gaps,
                                   config.allow_damaged, lambda count: bar.update(count - bar.n),
                                   ShotRule.from_config(config), config.deinterlace, network.reads_uint16)
    if reason:
        print('clips: %s (%s)' % (', '.join(names), reason), flush=True)
    info = sources[0].video
    if info and info.bits > 8 and not network.reads_uint16:
        print('note: %s has %d bits a channel (%s); an exported graph restores it from 8'
              % (config.input, info.bits, info.pixel_format))
    return sources


def share_of(sources, config):
    """The clips of --part: every n-th one."""
    if not config.share:
        return sources
    i, n = config.share
    print('part %d of %d: %d of %d clips' % (i, n, len(sources[i - 1::n]), len(sources)), flush=True)
    return sources[i - 1::n]


def check_output(output, sources, to_video):
    """Checks that sources (list of clip_source.Source) can be restored to an output. Raises UserError."""
    if to_video and len(sources) > 1:
        raise UserError('--output=%s is one video, but --input has %d clips: choose one with --clips, or give a folder'
                        % (output, len(sources)))
    for source in sources:
        target = output if to_video else folder_of(output, source, len(sources) == 1)
        if os.path.realpath(target) == os.path.realpath(source.path):
            raise UserError('--output=%s would write over the input %s: give another one' % (output, source.path))


def report(count, network, output, seconds):
    """Prints the result: `count` frames restored with a Restorer or a Network, in `seconds`, to `output`."""
    if count:
        print('restored %d frames with %s in %.1f s, %.2f frames/s: %s'
              % (count, network.path, seconds, count / seconds, output))
    else:
        print('nothing to do: all frames are in %s (--overwrite restores them again)' % output)
