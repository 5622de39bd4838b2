"""A restoration from its configuration: clips are found, the output is checked, frames go to folders or to a video."""
import datetime
import hashlib
import os
import re
import time
import typing

from data_tools.base import beam_options
from data_tools.base.errors import UserError
from data_tools.media import splits, video
from data_tools.media.shots import ShotRule
from edvr import checkpoints
from edvr.restoration import clip_source
from edvr.restoration.graph import signature
from edvr.restoration.graph.loading import is_exported, read_bytes
from edvr.restoration.output import progress
from edvr.restoration.output.containers import CONTAINERS
from edvr.restoration.output.folders import folder_of, restore_to_folders
from edvr.restoration.output.videos import restore_to_video
from edvr.restoration.preview import places, preview


def restore(restorer, restore_config, config):
    """Restores what `config` names.

    Args:
      restorer: Restorer, made from restore_config.
      restore_config: RestoreConfig.
      config: InferConfig.
    Returns:
      int, frames restored.
    Raises:
      UserError: input or output that cannot be used; what is written stays and the next run continues there.
    """
    to_video = check_output_name(config.output)
    if to_video and config.part:
        raise UserError('--part deals clips to folders; --output=%s is one video' % config.output)
    sources = find_sources(config, restorer)
    check_output(config.output, sources, to_video)
    if config.preview:
        _preview(restorer, sources, config)
        return 0
    share, alone = share_of(sources, config), len(sources) == 1
    started = time.time()
    if to_video:
        count = restore_to_video(restorer, sources[0], config.output, settings_of(restore_config), config.fps,
                                 config.crf, config.codec, config.audio, config.bits, config.overwrite)
    else:
        count = restore_to_folders(restorer, share, config.output, settings_of(restore_config), alone,
                                   config.overwrite, config.writers, config.share)
    report(count, restorer, config.output, time.time() - started)
    return count


class Network(typing.NamedTuple):
    """What is known of a network without loading it; the names are those of `Restorer`."""
    config: typing.Any
    path: str
    reads_uint16: bool

    @classmethod
    def of(cls, path):
        """The Network of a training directory, a checkpoint or an exported graph. Raises UserError as `Restorer`."""
        if is_exported(path):
            return cls(signature.read(path, read_bytes(_graph_file(path)))[0], path, False)
        path = checkpoints.chosen(path)
        return cls(checkpoints.load_model_config(path), path, True)


def restore_with_beam(restore_config, config):
    """As `restore`, by the workers of Apache Beam, each of which loads the network.

    Args:
      restore_config: RestoreConfig. config: InferConfig with a runner.
    Returns:
      int, frames restored.
    Raises:
      UserError: see `restore` and `beam_runner.run`; one video or a preview is wanted.
    """
    beam_options.require()
    beam_options.parse(config)
    if check_output_name(config.output):
        raise UserError('--runner restores to folders of frames; --output=%s is one video' % config.output)
    config = config.replace(input=beam_options.absolute(config.input), output=beam_options.absolute(config.output))
    network = Network.of(beam_options.absolute(restore_config.checkpoint))
    sources = find_sources(config, network)
    check_output(config.output, sources, False)
    restore_config = restore_config.replace(checkpoint=network.path)   # not a newer one that appears meanwhile
    from edvr.restoration import beam_restoring  # defines what needs Beam
    return beam_restoring.restore(network, sources, settings_of(restore_config), restore_config, config)


def check_output_name(output):
    """Whether a name is that of a video (bool) and not of a folder.

    Raises:
      UserError: a suffix of no kind of video that is written, unless it is a folder, or ends in a slash.
    """
    suffix = os.path.splitext(output)[1].lower()
    if suffix in CONTAINERS:
        return True
    if suffix in video.SUFFIXES or (re.match(r'\.[a-z][a-z0-9]{1,4}$', suffix) and not os.path.isdir(output)):
        raise UserError('--output=%s: videos are written as %s; a folder of this name takes a / at its end'
                        % (output, ' '.join(sorted(CONTAINERS))))
    return False


def settings_of(config):
    """What decides how a restored frame looks, for the record beside the frames: dict of JSON values.

    Args:
      config: RestoreConfig.
    """
    if is_exported(config.checkpoint):
        path = _graph_file(config.checkpoint)
    else:
        path = checkpoints.latest(config.checkpoint) + '.index'   # holds the checksum of every variable
    with open(path, 'rb') as file:
        digest = hashlib.sha256(file.read()).hexdigest()[:16]
    return dict(network='%s (%s)' % (os.path.basename(path), digest), fill=config.fill, ensemble=config.ensemble,
                use_ema=config.use_ema)


def _graph_file(path):
    """The file of an exported graph, which may be a folder."""
    return os.path.join(path, 'saved_model.pb') if os.path.isdir(path) else path


def find_sources(config, network):
    """The sources for a Restorer or a Network: list of Source; prints what the user should know of them."""
    names, reason = splits.choose(config.clips, config.input)
    with progress.bar(None, 'looking through the video') as bar:
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


def _preview(restorer, sources, config):
    folder, seconds, size = preview(restorer, sources[0], config.preview, config.output, config.codec, config.crf)
    frames = sum(source.length for source in sources)
    print('%d comparison pictures: %s' % (len(places(sources[0].length, config.preview)), folder))
    print('estimate for %d frames like these: %.2f s a frame, %s in all, about %.3g MB'
          % (frames, seconds, datetime.timedelta(seconds=round(seconds * frames)), size * frames / 1e6))


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
    """Prints what was restored: `count` frames with a Restorer or a Network, in `seconds`, to `output`."""
    if count:
        print('restored %d frames with %s in %.1f s, %.2f frames/s: %s'
              % (count, network.path, seconds, count / seconds, output))
    else:
        print('nothing to do: all frames are in %s (--overwrite restores them again)' % output)
