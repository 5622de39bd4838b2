"""The encoding of pictures: BT.709, limited range, with these tags; without loss RGB."""
import typing

import numpy as np

from data_tools.base.errors import UserError
from data_tools.media import ffmpeg
from edvr.config.codecs import CODECS, Codec
from edvr.output.containers import Container

_TAGS = ('-colorspace', 'bt709', '-color_primaries', 'bt709', '-color_trc', 'bt709', '-color_range', 'tv')
_TO_YUV = ('scale=out_color_matrix=bt709:out_range=tv:flags=accurate_rnd+full_chroma_inp,format=%s,'
           'setparams=range=tv:color_primaries=bt709:color_trc=bt709:colorspace=bt709')
_PLAIN = ('libx264', 'libx265', 'libvpx-vp9')   # of every ffmpeg that is used


class Encoding(typing.NamedTuple):
    """How pictures are encoded.

    codec: str, a name in CODECS.
    crf: int, quality on the scale of the codec.
    bits: 8 or 10, a channel.
    encoder: str, ffmpeg's name; '' for the codec's only one.
    options: further options of ffmpeg for the encoder.
    """
    codec: str
    crf: int
    bits: int = 8
    encoder: str = ''
    options: typing.Tuple[str, ...] = ()

    @classmethod
    def for_container(cls, container: Container, path: str, codec: str = 'auto', crf: int = 18, bits: int = 8,
                      options: typing.Sequence[str] = ()) -> 'Encoding':
        """Returns the Encoding for a Container.

        Raises:
          UserError: naming `path`: the container does not take the codec; or the ffmpeg in use has no such encoder, or
            refuses to encode with these options.
        """
        codec = container.codec if codec == 'auto' else codec
        kind = CODECS[codec]
        if container.muxer not in kind.muxers:
            raise UserError('%s: --codec=%s is written as %s, not as %s; %s takes --codec=%s'
                            % (path, codec, ', '.join(kind.muxers), container.muxer, container.muxer, ', '.join(
                                name for name, other in CODECS.items() if container.muxer in other.muxers)))
        encoder = next((name for name in kind.encoders if codec in _PLAIN or name in ffmpeg.encoders()), '')
        if not encoder:
            raise UserError('%s: --codec=%s needs an ffmpeg with %s; this one, %s, has none'
                            % (path, codec, ' or '.join(kind.encoders), ffmpeg.version()))
        encoding = cls(codec, crf, bits, encoder if len(kind.encoders) > 1 else '', tuple(options))
        if codec not in _PLAIN or options:
            encoding._try(path)
        return encoding

    @property
    def _codec(self) -> Codec:
        return CODECS[self.codec]

    @property
    def pixel_format(self) -> str:
        """Returns ffmpeg's name of the format of encoded pictures."""
        return self._codec.pixels[self.bits == 10]

    @property
    def even(self) -> bool:
        """Returns whether height and width must be even."""
        return self._codec.even(self.bits)

    @property
    def filters(self) -> str:
        """Returns ffmpeg's filters from RGB to the format of encoded pictures."""
        return _TO_YUV % self.pixel_format if self.even else 'format=' + self.pixel_format

    @property
    def muxer(self) -> str:
        """Returns the kind of file of segments, by ffmpeg's name."""
        return 'mp4' if 'mp4' in self._codec.muxers else 'mov'

    @property
    def input_format(self) -> str:
        """Returns ffmpeg's name of the format of the frames to encode: 16 bits a channel for an encoding of 10."""
        return 'rgb48le' if self.bits == 10 else 'rgb24'

    def converted(self, frame: np.ndarray) -> np.ndarray:
        """Returns a frame, uint8 or uint16 [H, W, 3], in the depth that the encoder reads."""
        if self.bits == 10:
            return frame if frame.dtype == np.uint16 else frame.astype(np.uint16) * np.uint16(257)
        if frame.dtype == np.uint16:
            raise ValueError('frames of 16 bits for a video of 8')
        return frame

    def arguments(self, constant_rate: bool) -> typing.List[str]:
        """Returns options of ffmpeg.

        With a variable rate frames keep their order: decoding times of segments then never overlap, for any intervals
        at the joints.
        """
        encoder = self.encoder or self._codec.encoders[0]
        tags = _TAGS if self.even else ()   # else RGB
        return ['-c:v', encoder, *self._codec.quality(encoder, self.crf), *tags,
                *self._codec.order(constant_rate), *self.options]

    def to_json(self) -> typing.Dict[str, typing.Any]:
        """Returns the settings on which the bytes depend, for a record."""
        more = dict(encoder=self.encoder) if self.encoder else {}
        if self.options:
            more['ffmpeg_options'] = ' '.join(self.options)
        return dict(codec=self.codec, crf=self.crf, bits=self.bits, ffmpeg=ffmpeg.version(), **more)

    def _try(self, path: str) -> None:
        """Encodes a frame. Raises UserError if ffmpeg refuses, as it does without the hardware of an encoder."""
        done = ffmpeg.output('-loglevel', 'error', '-f', 'lavfi', '-i', 'color=size=256x256', '-frames:v', '1',
                             '-vf', self.filters, *self.arguments(True), '-f', 'null', '-')
        if done.code:
            raise UserError('%s: ffmpeg does not encode with --codec=%s%s: %s'
                            % (path, self.codec, ''.join(' ' + word for word in self.options), done.failure()))
