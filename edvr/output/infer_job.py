"""A restoration from its configuration: finds the clips, checks the output, writes folders or a video."""
import hashlib
import os
import time
import typing

from data_tools.base import beam_options, files
from data_tools.base.config import PIPE
from data_tools.base.durations import duration
from data_tools.base.errors import UserError
from data_tools.media import comparison_page, icc, splits
from data_tools.media.frame_stream import PIXEL_FORMATS, Y4M, FrameStream
from data_tools.media.shots import ShotRule
from edvr import checkpoints
from edvr.config import place
from edvr.config.codecs import CODECS, options_of
from edvr.config.infer import InferConfig
from edvr.config.restoration import RestoreConfig
from edvr.exporting import description
from edvr.output import clip_source, progress, streaming
from edvr.output.containers import container_of, is_video_name
from edvr.output.encoding import Encoding
from edvr.output.folders import Settings, folder_of, write_folders
from edvr.output.preview import places, write_preview
from edvr.output.timing import wanted_rate
from edvr.output.videos import chosen_rate, write_video
from edvr.restore import resize
from edvr.restore.network_info import NetworkInfo
from edvr.restore.restorer import Restorer
from edvr.sharing.workers import print_placement


class InferJob(typing.NamedTuple):
    """A restoration whose input and output are checked.

    config: InferConfig.
    network: object with the attributes of NetworkInfo.
    sources: list of Source, of all parts.
    settings: dict of JSON values on which restored frames depend.
    to_video: bool, whether the output is a video, not a folder.
    stream: FrameStream of frames on standard input, then there are no sources; or None.
    """
    config: InferConfig
    network: typing.Any
    sources: typing.List[clip_source.Source]
    settings: Settings
    to_video: bool
    stream: typing.Optional[FrameStream] = None

    @property
    def alone(self) -> bool:
        """Returns whether there is only one clip."""
        return len(self.sources) == 1


def prepare(network: typing.Any, restore_config: RestoreConfig, config: InferConfig) -> InferJob:
    """Finds the clips and checks the output, without a loaded network; prints notes about the clips.

    Args:
      network: NetworkInfo, or the Restorer.
      restore_config: RestoreConfig.
      config: InferConfig.
    Raises:
      UserError: input or output that cannot be used.
    """
    to_video = is_video_name(config.output)
    if to_video and config.part:
        raise UserError('--part restores clips to folders; --output=%s is one video' % config.output)
    if to_video and files.is_remote(config.output):
        raise UserError('--output=%s: a video is written to a folder of this host, and not to an address; copy it '
                        'there afterwards' % config.output)
    if to_video and config.runner:
        raise UserError('--runner restores to folders of frames; --output=%s is one video' % config.output)
    if to_video:   # a codec that this ffmpeg cannot encode
        Encoding.for_container(container_of(config.output), config.output, config.codec, config.crf, config.bits,
                               options_of(config.ffmpeg_options))
    if config.pipe:
        streaming.check_output(config, to_video)
    if config.input == PIPE:
        _check_height(config)
        stream = streaming.open_input(config)
        streaming.span_of(config, stream)
        return InferJob(config, network, [], {}, to_video, stream)
    sources = _find_sources(config, network)
    check_output(config.output, sources, to_video or config.output == PIPE)
    if to_video:
        chosen_rate(sources[0], config.fps, config.audio)
    # the record names the checkpoint in use: a training may have written a newer one since
    settings = settings_of(restore_config.for_network(network.config).replace(checkpoint=network.path))
    return InferJob(config, network, sources, settings, to_video)


def run(job: InferJob, workers: typing.Any) -> int:
    """Restores the clips of a job.

    Args:
      job: InferJob.
      workers: sharing.workers.ThisProcess or WorkerProcesses, of the network of the job.
    Returns:
      frames restored.
    Raises:
      UserError: input or output that cannot be used; written frames stay, and the next run continues after them.
    """
    config, started = job.config, time.time()
    if config.pipe:
        count = streaming.restore(workers.network, config, job.stream or job.sources[0], job.to_video,
                                  _even(config))
    elif job.to_video:
        count = write_video(workers, job.sources[0], config.output, job.settings, config.fps, config.crf, config.codec,
                            config.audio, config.bits, config.overwrite, config.progress,
                            options_of(config.ffmpeg_options))
    else:
        count = write_folders(workers, _clips_of_part(job), config.output, job.settings, job.alone, config.overwrite,
                              config.writers, config.part_numbers, config.progress)
    _report(count, job, time.time() - started)
    return count


def preview(job: InferJob, restorer: Restorer) -> None:
    """Writes the pictures of --preview and prints an estimate. Raises UserError as `run`."""
    config, source = job.config, job.sources[0]
    folder, seconds, size = write_preview(restorer, source, config.preview, config.output, config.codec, config.crf,
                                          options_of(config.ffmpeg_options))
    frames = sum(source.length for source in job.sources)
    print('%d comparison pictures, and a page to compare them: %s'
          % (len(places(source.length, config.preview)), os.path.join(folder, comparison_page.NAME)))
    print('estimate for %d frames like these: %.2f s a frame, %s in all, about %.3g MB'
          % (frames, seconds, duration(seconds * frames), size * frames / 1e6))


def run_with_beam(restore_config: RestoreConfig, config: InferConfig) -> int:
    """Restores as `run`, by the workers of Apache Beam, each of which loads the network.

    Args:
      restore_config: RestoreConfig.
      config: InferConfig with a runner.
    Returns:
      frames restored.
    Raises:
      UserError: see `prepare` and `beam_runner.run`.
    """
    beam_options.parse(config)
    config = config.replace(input=beam_options.absolute(config.input), output=beam_options.absolute(config.output))
    network = NetworkInfo.at(beam_options.absolute(restore_config.checkpoint), restore_config.trust_graph)
    print_placement(restore_config, network)
    restore_config = restore_config.replace(checkpoint=network.path)   # not a newer one that a training writes
    job, started = prepare(network, restore_config, config), time.time()
    from edvr.output import beam_folders  # needs Beam
    count = beam_folders.write_folders(_clips_of_part(job), job.settings, job.alone, restore_config, config)
    _report(count, job, time.time() - started)
    return count


def settings_of(config: RestoreConfig) -> typing.Dict[str, typing.Any]:
    """Returns the settings on which restored frames depend, JSON values for the record beside the frames."""
    if description.is_exported(config.checkpoint):
        path = description.find(config.checkpoint).identifying
    else:
        path = checkpoints.latest(config.checkpoint) + '.index'   # holds the checksum of every variable
    digest = hashlib.sha256(files.read_bytes(path)).hexdigest()[:16]
    return dict(network='%s (%s)' % (os.path.basename(path), digest), fill=config.fill, ensemble=config.ensemble,
                use_ema=config.use_ema, exact=config.exact, compute=config.compute)


def _find_sources(config, network):
    names, reason = splits.choose(config.clips, config.input)
    with progress.bar(None, 'scanning the video', config.progress, delay=2) as bar:
        sources = clip_source.find(config.input, network.config.upscale, names, config.allow_gaps,
                                   config.allow_damaged, lambda count: bar.update(count - bar.n),
                                   ShotRule.from_config(config), config.deinterlacing, network.reads_uint16,
                                   config.tonemap, config.icc)
    _print_profiles(sources, config)
    if names and reason:
        print('clips: %s (%s)' % (', '.join(names), reason), flush=True)
    sources = [_span(source, config) for source in sources]
    even = _even(config)
    _check_height(config)
    sources = [source._replace(resize=resize.wanted(source.size, config.outscale, config.height, config.resampler,
                                                    even)) for source in sources]
    info = sources[0].video
    if info and info.bits > 8 and not network.reads_uint16:
        print('note: %s has %d bits a channel (%s); an exported graph restores it from 8'
              % (config.input, info.bits, info.pixel_format))
    elif info and info.bits > 8 and _bits(config) == 8:
        print('note: %s has %d bits a channel (%s) and the output 8%s'
              % (config.input, info.bits, info.pixel_format, '' if _is_folder(config) else '; --bits=10 keeps more'))
    return sources


def _print_profiles(sources, config):
    """Prints what happens to the ICC profiles of images, a line for each of them."""
    lines: typing.Dict[str, typing.List[str]] = {}
    for source in sources:
        if source.converted:
            text = "converted to sRGB from the ICC profile '%s'" % "', '".join(source.converted)
        elif source.kept_profile and _is_folder(config):
            text = "the ICC profile '%s' is kept in the written PNG; --icc=srgb converts" % icc.name_of(source.profile)
        elif source.profile and not icc.is_srgb(source.profile):
            text = ("the ICC profile '%s' cannot be kept in %s, so colours look different; --icc=srgb converts"
                    % (icc.name_of(source.profile), 'an RGB image' if _is_folder(config) else config.output))
        else:
            continue
        lines.setdefault(text, []).append(source.name)
    for text, names in lines.items():
        print('note: %s: %s' % (', '.join(names[:4]) + (', ... %d clips' % len(names) if len(names) > 4 else ''), text))


def _span(source, config):
    """Returns the frames of a Source from --start to --end."""
    first, end = (source.number_at(where, wanted_rate(config.fps)) if where else default for where, default in
                  ((place.parse(config.start), 0), (place.parse(config.end), source.length)))
    if (first, end) == (0, source.length):
        return source
    if first >= end:
        raise UserError('clip %s: --start=%s --end=%s has no frames of its %d; --start must come before --end and '
                        'before the last frame' % (source.name, config.start, config.end, source.length))
    return source.span(first, end)


def _is_folder(config):
    return config.output != PIPE and not is_video_name(config.output)


def _bits(config):
    """Returns the bits a channel of the output."""
    if config.output == PIPE and config.pipe_format != Y4M:
        return PIXEL_FORMATS[config.raw_format].bits
    return 8 if _is_folder(config) else config.bits


def _even(config):
    """Returns whether the sides of the output must be even."""
    if config.output == PIPE:
        return config.pipe_format == Y4M
    if not is_video_name(config.output):
        return False
    codec = CODECS[container_of(config.output).codec if config.codec == 'auto' else config.codec]
    return codec.even(config.bits)


def _check_height(config):
    if _even(config) and config.height % 2:
        raise UserError('--height=%d is odd; the pixels of %s share chroma, so it must be even'
                        % (config.height, config.output))


def _clips_of_part(job):
    """Returns the clips of --part: every n-th one."""
    if not job.config.part_numbers:
        return job.sources
    i, n = job.config.part_numbers
    clips = job.sources[i - 1::n]
    print('part %d of %d: %d of %d clips' % (i, n, len(clips), len(job.sources)), flush=True)
    return clips


def check_output(output: str, sources: typing.Sequence[clip_source.Source], to_video: bool) -> None:
    """Raises UserError if sources cannot be restored to an output."""
    if to_video and len(sources) > 1:
        raise UserError('--output=%s is one video, but --input has %d clips: choose one with --clips, or give a folder'
                        % (output, len(sources)))
    for source in sources:
        target = output if to_video else folder_of(output, source, len(sources) == 1)
        if os.path.realpath(target) == os.path.realpath(source.path):
            raise UserError('--output=%s would write over the input %s: give another one' % (output, source.path))


def _report(count, job, seconds):
    if count:
        print('restored %d frames with %s in %.1f s, %.2f frames/s: %s'
              % (count, job.network.path, seconds, count / seconds, job.config.output))
    else:
        print('nothing to do: all frames are in %s (--overwrite restores them again)' % job.config.output)
