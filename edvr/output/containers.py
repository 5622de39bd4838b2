"""The containers of written videos, and the streams of a source that each of them can hold."""
import collections
import os
import re
import typing

from data_tools.base.errors import UserError
from data_tools.media.streams import COVER
from data_tools.media.video import SUFFIXES, VideoInfo

_TEXT = ('subrip', 'srt', 'ass', 'ssa', 'mov_text', 'webvtt', 'text')
_QUICKTIME_AUDIO = ('aac', 'mp3', 'ac3', 'eac3', 'alac')
_PCM = ('pcm_s16le', 'pcm_s16be', 'pcm_s24le', 'pcm_s24be', 'pcm_s32le', 'pcm_s32be', 'pcm_f32le', 'pcm_f32be',
        'pcm_u8', 'pcm_s8', 'pcm_alaw', 'pcm_mulaw')

_COVERS = ('mjpeg', 'png')

Container = collections.namedtuple(
    'Container', 'muxer codec audio audio_encoder subtitles text_encoder attachments covers')
Container.__doc__ = """A kind of file.

muxer: str, ffmpeg's name.
codec: str, its usual video encoder.
audio: codecs that are copied into it, None for any.
audio_encoder: str, for the others.
subtitles: codecs that are copied into it.
text_encoder: str, for other subtitles of text.
attachments: bool, whether it can hold attachments such as fonts.
covers: codecs of covers that it can hold.
"""
CONTAINERS = {
    '.mp4': Container('mp4', 'libx264', _QUICKTIME_AUDIO, 'aac', ('mov_text',), 'mov_text', False, _COVERS),
    '.mov': Container('mov', 'libx264', _QUICKTIME_AUDIO + _PCM, 'aac', ('mov_text',), 'mov_text', False, ()),
    '.mkv': Container('matroska', 'libx264', None, 'aac',
                      ('subrip', 'ass', 'ssa', 'webvtt', 'hdmv_pgs_subtitle', 'dvd_subtitle', 'dvb_subtitle'),
                      'subrip', True, _COVERS),
    '.webm': Container('webm', 'libvpx-vp9', ('opus', 'vorbis'), 'libopus', ('webvtt',), 'webvtt', False, ())}

_NOT_RESTORED = {'video': 'one video stream is restored', 'data': 'data is not copied'}


class Stream(typing.NamedTuple):
    """Describes how a stream is written.

    Attributes:
      number: in the source.
      kind: 'audio', 'subtitle' or 'attachment'.
      codec: of the source.
      encoder: 'copy' or ffmpeg's name.
      text_encoder: of subtitles of text in the container; '' for other streams.
    """
    number: int
    kind: str
    codec: str
    encoder: str
    text_encoder: str = ''

    @property
    def is_text(self) -> bool:
        """Returns whether the stream holds subtitles of text."""
        return self.text_encoder != ''

    def __str__(self) -> str:
        return '%s %s (stream %d)' % (self.kind, self.codec, self.number)


class Plan(typing.NamedTuple):
    """Describes how each stream of a source except its picture is written.

    Attributes:
      streams: in the order of the output.
      encoded: streams that change their codec, for messages.
      lost: streams that do not fit, for messages.
      covers: (number in the source, codec) of pictures of the whole.
    """
    streams: typing.List[Stream]
    encoded: typing.List[str]
    lost: typing.List[str]
    covers: typing.List[typing.Tuple[int, str]]

    @property
    def timed(self) -> typing.List[Stream]:
        """Returns the sound and the subtitles."""
        return [stream for stream in self.streams if stream.kind in ('audio', 'subtitle')]


def container_of(path: str) -> Container:
    """Returns the Container of a file name. Raises UserError for another suffix."""
    suffix = os.path.splitext(str(path))[1].lower()
    if suffix not in CONTAINERS:
        raise UserError('%s: videos are written as %s' % (path, ' '.join(sorted(CONTAINERS))))
    return CONTAINERS[suffix]


def is_video_name(output: str) -> bool:
    """Returns whether a name is that of a video and not of a folder.

    Raises:
      UserError: the suffix is of no video that can be written, and the output is no folder and ends in no slash.
    """
    suffix = os.path.splitext(output)[1].lower()
    if suffix in CONTAINERS:
        return True
    if suffix in SUFFIXES or (re.match(r'\.[a-z][a-z0-9]{1,4}$', suffix) and not os.path.isdir(output)):
        raise UserError('--output=%s: videos are written as %s; a folder of this name takes a / at its end'
                        % (output, ' '.join(sorted(CONTAINERS))))
    return False


def plan(source: typing.Optional[VideoInfo], container: Container, audio: bool = True) -> Plan:
    """Returns the Plan for the streams of a source.

    Args:
      source: VideoInfo, or None.
      container: Container.
      audio: whether its audio is copied.
    """
    result = Plan([], [], [], [])
    for index, (kind, codec) in enumerate(source.streams if source else ()):
        if (source and index == source.film) or (kind == 'audio' and not audio):
            continue
        if kind == COVER and codec in container.covers:
            result.covers.append((index, codec))
            continue
        if kind == 'data' and codec == 'bin_data' and source and source.chapters:
            continue   # the titles of chapters in MP4, which are kept as chapters
        encoder = _encoder(kind, codec, container)
        if encoder is None:
            reason = _NOT_RESTORED.get(kind, '%s has none of this kind' % container.muxer)
            result.lost.append('%s %s (stream %d: %s)' % (kind, codec, index, reason))
            continue
        if encoder == 'copy' and source and source.cut and codec in _PCM:
            encoder = codec   # the same samples, cut to one
        stream = Stream(index, kind, codec, encoder,
                        container.text_encoder if kind == 'subtitle' and codec in _TEXT else '')
        result.streams.append(stream)
        if encoder not in ('copy', codec):
            result.encoded.append(str(stream))
    return result


def _encoder(kind, codec, container):
    """Returns how a stream is written: 'copy', the name of an encoder, or None if the container cannot hold it."""
    if kind == 'audio':
        return 'copy' if container.audio is None or codec in container.audio else container.audio_encoder
    if kind == 'subtitle':
        if codec in container.subtitles:
            return 'copy'
        return container.text_encoder if codec in _TEXT else None
    return 'copy' if kind == 'attachment' and container.attachments else None
