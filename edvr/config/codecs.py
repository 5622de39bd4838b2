"""The codecs of written videos: their encoders, containers, pixel formats and options."""
import re
import shlex
import typing

from data_tools.base.errors import UserError

_ANY = ('mp4', 'mov', 'matroska')
_420 = ('yuv420p', 'yuv420p10le')
_HARDWARE_420 = ('yuv420p', 'p010le')


class Codec(typing.NamedTuple):
    """Describes a codec of videos.

    Attributes:
      help: for --help.
      encoders: ffmpeg's names; the first that the ffmpeg in use has encodes.
      muxers: the containers, by ffmpeg's names.
      quality: function (encoder, crf) -> options of ffmpeg.
      order: function (whether the rate is constant) -> options of ffmpeg: without a constant one, frames are not
        reordered.
      pixels: ffmpeg's formats of pictures of 8 and of 10 bits a channel.
      worst_crf: the upper end of the scale of quality; 0 if the codec has no such scale.
    """
    help: str
    encoders: typing.Tuple[str, ...]
    muxers: typing.Tuple[str, ...]
    quality: typing.Callable[[str, int], typing.Sequence[str]]
    order: typing.Callable[[bool], typing.Sequence[str]] = lambda constant: ()
    pixels: typing.Tuple[str, str] = _420
    worst_crf: int = 51

    def even(self, bits: int) -> bool:
        """Returns whether height and width must be even, because pixels share their chroma."""
        return not self.pixels[bits == 10].startswith(('bgr', 'gbr'))


def _crf(encoder: str, crf: int) -> typing.Sequence[str]:
    # without -b:v 0 crf is only an upper limit; ffmpeg 4.2 calls libaom experimental
    more = {'libvpx-vp9': ('-b:v', '0', '-row-mt', '1'),
            'libaom-av1': ('-b:v', '0', '-row-mt', '1', '-cpu-used', '4', '-strict', 'experimental')}
    return ('-crf', str(crf)) + more.get(encoder, ())


def _no_b_frames(constant: bool) -> typing.Sequence[str]:
    return () if constant else ('-bf', '0')


def _order_of_x265(constant: bool) -> typing.Sequence[str]:
    return '-tag:v', 'hvc1', '-x265-params', 'log-level=error' + ('' if constant else ':bframes=0')


def _nvenc(name: str, muxers: typing.Tuple[str, ...] = _ANY) -> Codec:
    return Codec('NVIDIA', (name,), muxers, lambda encoder, crf: ('-rc', 'vbr', '-cq', str(crf), '-b:v', '0'),
                 _no_b_frames, _HARDWARE_420)


def _quick_sync(name: str, muxers: typing.Tuple[str, ...] = _ANY) -> Codec:
    return Codec('Intel', (name,), muxers, lambda encoder, crf: ('-global_quality', str(crf)), _no_b_frames,
                 ('nv12', 'p010le'))


CODECS: typing.Dict[str, Codec] = {
    'libx264': Codec('H.264', ('libx264',), _ANY, _crf, _no_b_frames),
    'libx265': Codec('HEVC', ('libx265',), _ANY, _crf, _order_of_x265),
    'libvpx-vp9': Codec('VP9', ('libvpx-vp9',), ('webm',) + _ANY, _crf, worst_crf=63),
    'av1': Codec('AV1, smaller and slower', ('libsvtav1', 'libaom-av1'), ('webm', 'mp4', 'matroska'), _crf,
                 worst_crf=63),
    'prores': Codec('ProRes 422 HQ for editing, 10 bits; has no crf', ('prores_ks',), ('mov', 'matroska'),
                    lambda encoder, crf: ('-profile:v', 'hq'), pixels=('yuv422p10le',) * 2, worst_crf=0),
    'ffv1': Codec('FFV1, without loss, in RGB; has no crf', ('ffv1',), ('matroska',),
                  lambda encoder, crf: ('-level', '3', '-slicecrc', '1'), pixels=('bgr0', 'gbrp10le'), worst_crf=0),
    'h264_nvenc': _nvenc('h264_nvenc'), 'hevc_nvenc': _nvenc('hevc_nvenc'),
    'av1_nvenc': _nvenc('av1_nvenc', ('webm', 'mp4', 'matroska')),
    'h264_qsv': _quick_sync('h264_qsv'), 'hevc_qsv': _quick_sync('hevc_qsv'),
    'av1_qsv': _quick_sync('av1_qsv', ('webm', 'mp4', 'matroska'))}

# Options of encoders that open no files and addresses. What takes a list of further parameters (x264-params, ...) is
# not among them: such lists name files.
OPTIONS = ('preset', 'tune', 'profile:v', 'level:v', 'g', 'keyint_min', 'sc_threshold', 'bf', 'b_strategy', 'refs',
           'me_range', 'trellis', 'qmin', 'qmax', 'qp', 'b:v', 'maxrate', 'bufsize', 'aq-mode', 'aq-strength', 'psy-rd',
           'rc-lookahead', 'weightp', 'direct-pred', 'deadline', 'cpu-used', 'tile-columns', 'tile-rows', 'row-mt',
           'auto-alt-ref', 'lag-in-frames', 'usage', 'rc', 'cq', 'spatial-aq', 'temporal-aq', 'multipass', 'slices',
           'slicecrc', 'coder', 'context', 'quant_mat', 'threads')


def options_of(text: str) -> typing.Tuple[str, ...]:
    """Returns options of ffmpeg, names and values in turn, of a text such as '-preset slow -tune film'.

    Raises:
      UserError: an option that is not among OPTIONS, or a value with other characters than letters, digits and _.:+-
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UserError('ffmpeg_options is %r: %s' % (text, error)) from None
    for name in words[::2]:
        if not (name.startswith('-') and name[1:] in OPTIONS):
            raise UserError('ffmpeg_options has %r; it may have %s, each with its value: other options could open files'
                            % (name, ' '.join('-' + option for option in OPTIONS)))
    for name, value in zip(words[::2], words[1::2] + ['']):
        if not re.match(r'[A-Za-z0-9_.:+-]+$', value):
            raise UserError('ffmpeg_options has %s %r; a value has letters, digits and _.:+-' % (name, value))
    return tuple(words)
