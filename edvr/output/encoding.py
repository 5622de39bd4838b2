"""The encoding of pictures: 4:2:0, BT.709, limited range, with these tags."""
import typing

import numpy as np

from data_tools.base.errors import UserError
from data_tools.media import ffmpeg
from edvr.output.containers import Container

_TAGS = ('-colorspace', 'bt709', '-color_primaries', 'bt709', '-color_trc', 'bt709', '-color_range', 'tv')


class Encoding(typing.NamedTuple):
    """How pictures are encoded.

    codec: str, ffmpeg's name of the encoder.
    crf: int, quality on the scale of the codec.
    bits: 8 or 10, a channel.
    """
    codec: str
    crf: int
    bits: int = 8

    @classmethod
    def for_container(cls, container: Container, path: str, codec: str = 'auto', crf: int = 18,
                      bits: int = 8) -> 'Encoding':
        """Returns the Encoding for a Container. Raises UserError, naming `path`, if it does not support the codec."""
        if container.muxer == 'webm' and codec not in ('auto', 'libvpx-vp9'):
            raise UserError('%s: webm takes --codec=libvpx-vp9, not %s; write .mp4 or .mkv' % (path, codec))
        return cls(container.codec if codec == 'auto' else codec, crf, bits)

    @property
    def pixel_format(self) -> str:
        """Returns ffmpeg's name of the format of encoded pictures."""
        return 'yuv420p10le' if self.bits == 10 else 'yuv420p'

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
        result = ['-c:v', self.codec, '-crf', str(self.crf), *_TAGS]
        if self.codec == 'libvpx-vp9':
            return result + ['-b:v', '0', '-row-mt', '1']   # without it crf is only an upper limit
        if self.codec == 'libx265':
            order = '' if constant_rate else ':bframes=0'
            return result + ['-tag:v', 'hvc1', '-x265-params', 'log-level=error' + order]
        return result + ([] if constant_rate else ['-bf', '0'])

    def to_json(self) -> typing.Dict[str, typing.Any]:
        """Returns the settings on which the bytes depend, for a record."""
        return dict(codec=self.codec, crf=self.crf, bits=self.bits, ffmpeg=ffmpeg.version())
